//! The section `credentials` of a deployment file, as JSON.

use super::leads_somewhere;
use crate::Target;
use basb_credentials::{CredentialsConfig, credentials_schema};
use basb_grants::HostPattern;
use serde_json::{Value, json};
use std::sync::LazyLock;

pub(crate) const TARGET: Target = Target {
    name: "credentials",
    run,
    more: &[],
    words: &[
        "\"to\"",
        "\"host\"",
        "\"scheme\"",
        "\"port\"",
        "\"socket\"",
        "\"bearer\"",
        "\"basic\"",
        "\"username\"",
        "\"password\"",
        "\"header\"",
        "\"name\"",
        "\"value\"",
        "\"prefix\"",
        "\"mtls\"",
        "\"certificate\"",
        "\"key\"",
        "\"placeholder\"",
        "\"awsSigv4\"",
        "\"accessKeyId\"",
        "\"secretAccessKey\"",
        "\"sessionToken\"",
        "\"region\"",
        "\"service\"",
        "\"assumeRole\"",
        "\"roleArn\"",
        "\"gcpServiceAccount\"",
        "\"scopes\"",
        "\"tokenUrl\"",
        "\"gcpMetadata\"",
        "\"azureClient\"",
        "\"tenant\"",
        "\"clientId\"",
        "\"clientSecret\"",
        "\"authority\"",
        "\"**.amazonaws.com\"",
        "\"https://a.example\"",
        "\"http\"",
        "[]",
        "{}",
        "null",
        "443",
        "*",
        "127.0.0.1",
    ],
};

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    jsonschema::validator_for(credentials_schema().as_value()).expect("the schema of a section is a schema")
});

fn run(input: &[u8]) {
    let Ok(section) = serde_json::from_slice::<Value>(input) else { return };
    match CredentialsConfig::parse(&section) {
        Ok(config) => {
            let names = config.names();
            assert_eq!(names.len(), section.as_object().map_or(0, serde_json::Map::len));
            for name in &names {
                assert!(config.kind_of(name).is_some());
                let destinations = config.destinations_of(name);
                assert!(!destinations.is_empty(), "{name} is bound to nothing: {section}");
                destinations.iter().for_each(|destination| bound(destination));
                let secrets = config.secrets_of(std::slice::from_ref(name));
                assert!(!secrets.is_empty() || config.kind_of(name) == Some("gcpMetadata"), "{name}");
            }
            assert!(section.is_null() || SCHEMA.is_valid(&section), "read, but not by the schema: {section}");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let document = json!({ "credentials": section });
            for problem in problems {
                assert!(leads_somewhere(&document, &problem.pointer), "{problem:?} in {section}");
                assert!(!problem.message.is_empty() && !problem.help.is_empty());
            }
        }
    }
}

/// A destination that is shown is one that can be written: a socket, or an origin whose host is a pattern.
fn bound(destination: &str) {
    if destination.starts_with("socket ") {
        return;
    }
    let (scheme, rest) = destination.split_once("://").unwrap_or_else(|| panic!("{destination}"));
    assert!(matches!(scheme, "http" | "https"), "{destination}");
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => {
            assert!(port.parse::<u16>().is_ok_and(|port| port != 0), "{destination}");
            host
        }
        _ => rest,
    };
    assert!(HostPattern::parse(host).is_ok(), "{destination}");
}
