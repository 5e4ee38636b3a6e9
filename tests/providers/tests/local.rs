//! The example on the one-machine cloud, as it is in the repository.

use basb_e2e::{Lab, free_port, program};
use basb_providers_e2e::suite::{self, SERVICES, Sections, Site};
use serde_json::json;
use std::process::Command;

struct Local {
    lab: Lab,
    ports: [u16; 4],
}

impl Site for Local {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn sections(&self) -> Sections {
        let listen = |(name, port): (&str, &u16)| format!("      {name}: {{ listen: \"127.0.0.1:{port}\" }}\n");
        let services: String = SERVICES.into_iter().zip(&self.ports).map(listen).collect();
        Sections {
            environment: format!("  local:\n    provider: {{ plugin: local }}\n    services:\n{services}"),
            ..Sections::default()
        }
    }

    fn ports(&self) -> [u16; 4] {
        self.ports
    }

    fn revisions(&self, service: &str) -> Vec<String> {
        self.lab.cloud().service(service).revisions.keys().cloned().collect()
    }

    fn meddle(&self) {
        let revision = self.revisions("capture").remove(0);
        self.lab.behind(
            "second-brain.local.capture",
            "PUT",
            &format!("/revisions/{revision}"),
            &json!({"replicas": 1}),
        );
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command(args);
        // The example looks its program up there.
        let beside = program("second-brain").parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(beside).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap());
        command
    }
}

#[test]
fn the_example_on_one_machine() {
    let site = Local { lab: Lab::new(), ports: std::array::from_fn(|_| free_port()) };
    suite::second_brain(&site);
    site.lab.stop();
}
