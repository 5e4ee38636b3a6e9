//! The example on Kubernetes: pods behind Services or an HTTPRoute.

use std::process::Command;

use basb_e2e::Lab;

use crate::kubernetes::{KubeLab, NAMESPACE};
use crate::suite::{SERVICES, Sections, Site};

impl Site for KubeLab {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn sections(&self) -> Sections {
        let (access, plugin) = self.access();
        let mut environment = "  cluster:\n    provider:\n      plugin: kubernetes\n      config:\n".to_owned();
        environment.push_str(&self.config("        ", ""));
        environment.push_str("    services:\n");
        for name in SERVICES {
            let (image, settings) = self.workload(name);
            environment.push_str(&format!(
                "      {name}:
        listen: null
        workload:
          command: null
          workingFolder: null
          image: {image}
          settings: {{ {settings} }}\n",
            ));
        }
        Sections { access, plugin, environment }
    }

    fn ports(&self) -> [u16; 4] {
        std::array::from_fn(|index| self.ports[index].1)
    }

    fn revisions(&self, service: &str) -> Vec<String> {
        let deployments = self.of_service("deployments", service);
        let revision =
            |of: &serde_json::Value| of["metadata"]["labels"]["basb-host/revision"].as_str().map(str::to_owned);
        deployments.iter().filter_map(revision).collect()
    }

    fn meddle(&self) {
        let deployment = self.of_service("deployments", "capture").remove(0);
        let name = deployment["metadata"]["name"].as_str().unwrap();
        self.kubectl(&["scale", "deployment", name, "-n", NAMESPACE, "--replicas=3"]);
    }

    fn command(&self, args: &[&str]) -> Command {
        KubeLab::command(self, args)
    }
}
