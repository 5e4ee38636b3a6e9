//! `basb-fuzz list`, `basb-fuzz seeds FOLDER` (the committed inputs of all targets, a folder for each), `basb-fuzz run TARGET
//! FILE…` (one input once more, for a look at what was found).

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["list"] => list(),
        ["seeds", folder] => seeds(Path::new(folder)),
        ["run", target, files @ ..] => run(target, files),
        _ => Err("write `basb-fuzz list`, `basb-fuzz seeds FOLDER` or `basb-fuzz run TARGET FILE…`".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), String> {
    let names: String = basb_fuzz::TARGETS.iter().map(|target| format!("{}\n", target.name)).collect();
    std::io::stdout().write_all(names.as_bytes()).map_err(|e| e.to_string())
}

fn seeds(folder: &Path) -> Result<(), String> {
    let fail = |error: std::io::Error| error.to_string();
    for target in basb_fuzz::TARGETS {
        let own = folder.join(target.name);
        std::fs::create_dir_all(&own).map_err(fail)?;
        for (name, input) in basb_fuzz::inputs::committed(target).map_err(fail)? {
            std::fs::write(own.join(format!("committed-{name}")), input).map_err(fail)?;
        }
        // A dictionary as libFuzzer reads it.
        let words = target.words.iter().map(|word| {
            let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02X}")).collect();
            format!("\"{escaped}\"\n")
        });
        std::fs::write(folder.join(format!("{}.dict", target.name)), words.collect::<String>()).map_err(fail)?;
    }
    list()
}

fn run(name: &str, files: &[&str]) -> Result<(), String> {
    let target = basb_fuzz::target(name).ok_or_else(|| format!("there is no target `{name}`; see `basb-fuzz list`"))?;
    for file in files {
        let input = std::fs::read(file).map_err(|e| format!("{file}: {e}"))?;
        (target.run)(&input);
    }
    Ok(())
}
