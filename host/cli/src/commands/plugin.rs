//! `basb-host plugin`.

use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_engine::{plugin_bytes, report_plugin};
use console::style;
use std::path::Path;

/// Shows what a plugin is and what it can ask for, from its bytes.
pub fn inspect(source: &str, printer: Printer) -> Result<Exit, CliError> {
    let bytes = plugin_bytes(source, Path::new("."))?;
    let report = report_plugin(source, &bytes)?;
    if printer.form() == Form::Json {
        printer.json(&report);
        return Ok(Exit::Done);
    }
    let text = |key: &str| {
        report.get(key).map_or_else(String::new, |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    printer.line(&format!("{} {}  {}", style(text("name")).bold(), text("version"), text("kind")));
    for key in ["publisher", "wit", "digest", "size"] {
        printer.line(&format!("  {key:10} {}", text(key)));
    }
    let list = |key: &str| report.get(key).and_then(|v| v.as_array()).cloned().unwrap_or_default();
    let imports = list("imports");
    if imports.is_empty() {
        printer.line("  imports    nothing: it is a pure function");
    }
    for import in imports {
        let functions = import.get("functions").and_then(|f| f.as_array()).cloned().unwrap_or_default();
        let functions: Vec<&str> = functions.iter().filter_map(|f| f.as_str()).collect();
        let interface = import.get("interface").and_then(|v| v.as_str()).unwrap_or_default();
        // An interface may have types only.
        let functions = if functions.is_empty() { String::new() } else { format!(": {}", functions.join(", ")) };
        printer.line(&format!("  imports    {interface}{functions}"));
    }
    for wish in list("capabilities") {
        let part = |key: &str| wish.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        printer.line(&format!("  asks for   {}: {}", part("name"), part("reason")));
    }
    Ok(Exit::Done)
}

/// Lists the plugins that come with basb-host.
pub fn list(printer: Printer) -> Result<Exit, CliError> {
    for builtin in basb_builtins::all() {
        match printer.form() {
            Form::Json => printer.json(&serde_json::json!({ "name": builtin.name, "size": builtin.bytes.len() })),
            Form::Text => printer.line(&format!("builtin:{:22} {:>7} bytes", builtin.name, builtin.bytes.len())),
        }
    }
    Ok(Exit::Done)
}
