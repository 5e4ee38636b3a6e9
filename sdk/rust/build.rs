//! Writes what the components of the three pure worlds are told to be (see `bindings::component_type`).

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use wit_component_of_bindgen::{StringEncoding, metadata};
use wit_parser_of_bindgen::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let wit = Path::new("../../wit/host/0.1.0");
    println!("cargo::rerun-if-changed={}", wit.display());
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR")?;
    for interface in ["strategy", "judge", "generator"] {
        let mut resolve = Resolve::default();
        resolve.push_path(wit)?;
        let package = resolve.push_str(
            "pure.wit",
            &format!(
                "package basb:sdk; world pure-{interface} {{ export basb:host/types@0.1.0; export basb:host/{interface}@0.1.0; }}"
            ),
        )?;
        let world = resolve.select_world(&[package], None)?;
        let bytes = metadata::encode(&resolve, world, StringEncoding::UTF8, None, false)?;
        fs::write(Path::new(&out).join(format!("{interface}.component-type")), bytes)?;
    }
    Ok(())
}
