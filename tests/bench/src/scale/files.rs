//! The deployment files, and the two plugins that do nothing.

use crate::Result;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The plugins, as files.
pub(crate) struct Plugins {
    provider: PathBuf,
    probe: PathBuf,
}

/// Builds the plugins into a folder.
pub(crate) fn plugins(folder: &Path) -> Result<Plugins> {
    let write = |package: &str| -> Result<PathBuf> {
        let path = folder.join(format!("{package}.wasm"));
        std::fs::write(&path, basb_guest_build::build(package))?;
        Ok(path)
    };
    Ok(Plugins { provider: write("guest-no-op-provider")?, probe: write("guest-no-op-probe")? })
}

/// Whether the services become stable each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Grouping {
    /// Each for itself.
    None,
    /// All together or none of them.
    All,
}

/// Writes the file of a deployment with so many services.
pub(crate) fn deployment(folder: &Path, plugins: &Plugins, services: usize, grouping: Grouping) -> Result<()> {
    let mut text = format!(
        "version: 1\n\
         name: scale\n\
         vars: {{ release: \"1\" }}\n\
         plugins:\n\
         \x20 cloud: {{ source: {} }}\n\
         \x20 canary: {{ source: \"builtin:strategy-canary\" }}\n\
         \x20 probe: {{ source: {} }}\n\
         environments: {{ here: {{ provider: {{ plugin: cloud }} }} }}\n\
         strategies:\n\
         \x20 in-steps: {{ plugin: canary, config: {{ steps: [setWeight: 10, setWeight: 50, setWeight: 100] }} }}\n\
         probes: {{ works: {{ plugin: probe }} }}\n\
         services:\n",
        serde_json::to_string(&plugins.provider)?,
        serde_json::to_string(&plugins.probe)?,
    );
    for number in 1..=services {
        write!(
            text,
            "  service-{number:05}:\n\
             \x20   workload:\n\
             \x20     command: [serve, --name, service-{number:05}]\n\
             \x20     env: {{ RELEASE: \"${{release}}\" }}\n\
             \x20   strategy: in-steps\n\
             \x20   verify: [works]\n\
             \x20   scaleDownDelay: 0s\n"
        )?;
    }
    if grouping == Grouping::All {
        text.push_str("groups:\n  all:\n    services:\n");
        for number in 1..=services {
            writeln!(text, "      - service-{number:05}")?;
        }
    }
    std::fs::write(folder.join("deployment.yaml"), text)?;
    Ok(())
}
