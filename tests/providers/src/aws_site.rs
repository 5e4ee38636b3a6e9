//! The example on AWS: tasks of ECS behind a load balancer.

use std::process::Command;

use basb_e2e::Lab;
use serde_json::Value;

use crate::aws::{AwsLab, Service};
use crate::suite::{SERVICES, Sections, Site};

impl Site for AwsLab {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn sections(&self) -> Sections {
        let access = self.access(Service::Ecs);
        let (access, plugin) = access.split_once("plugins:\n").unwrap();
        let mut environment = self.environment();
        environment.push_str("    services:\n");
        let (image, program) = self.image();
        // The tasks of a cloud share no folder of this machine; in a container, each has the image's own.
        let vault = if program.is_some() { "/vault".to_owned() } else { self.lab.vault().display().to_string() };
        let first = program.map(|program| format!("{program}, ")).unwrap_or_default();
        for name in SERVICES {
            environment.push_str(&format!(
                "      {name}:
        listen: null
        workload:
          command: null
          workingFolder: null
          env: {{ SECOND_BRAIN_ALLOWED_HOSTS: {name}.example }}
          image: {image}
          settings: {{ command: [{first}{name}, --vault, {vault}, --release, \"${{release}}\"] }}\n",
            ));
        }
        Sections { access: access.to_owned(), plugin: plugin.to_owned(), environment }
    }

    fn ports(&self) -> [u16; 4] {
        std::array::from_fn(|index| self.ports[index].1)
    }

    fn revisions(&self, service: &str) -> Vec<String> {
        let facts = self.facts();
        let tag =
            |of: &Value, key: &str| of["tags"][format!("basb-host:{key}")].as_str().unwrap_or_default().to_owned();
        let of = facts["services"].as_array().unwrap().iter().filter(|of| tag(of, "service") == service);
        of.map(|of| tag(of, "revision")).collect()
    }

    fn meddle(&self) {
        assert_eq!(self.boto3(include_str!("../programs/aws_meddle.py"))["changed"], 1);
    }

    fn command(&self, args: &[&str]) -> Command {
        AwsLab::command(self, args)
    }
}
