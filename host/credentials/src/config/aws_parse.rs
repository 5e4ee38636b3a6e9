//! Reads the key `awsSigv4`.

use super::reader::{Clear, Reader};
use super::{AssumeRole, Aws};
use crate::aws::endpoint;
use crate::destination::Binding;
use basb_core::Millis;
use basb_grants::HostPattern;
use basb_secrets::reading::pointer;
use serde_json::{Map, Value};
use std::time::Duration;

/// The bounds of a role's session (AWS STS API reference, `AssumeRole`, `DurationSeconds`).
const SHORTEST: Duration = Duration::from_secs(900);
const LONGEST: Duration = Duration::from_secs(43_200);

pub(super) fn aws(reader: &mut Reader, at: &str, value: &Value, to: &[Binding]) -> Option<Aws> {
    let map = reader.mapping(at, value, "{ accessKeyId: aws-id, secretAccessKey: aws-key }")?;
    reader.only(at, map, &["accessKeyId", "secretAccessKey", "sessionToken", "region", "service", "assumeRole"]);
    let access_key_id = reader.required_secret(at, map, "accessKeyId", "aws-id");
    let secret_access_key = reader.required_secret(at, map, "secretAccessKey", "aws-key");
    let session_token = reader.secret(at, map, "sessionToken");
    let region = scope_part(reader, at, map, "region", "eu-west-1");
    let service = scope_part(reader, at, map, "service", "ecs");
    if region.is_none() || service.is_none() {
        let parent = at.rsplit_once('/').map_or(at, |(parent, _)| parent);
        unclear_hosts(reader, parent, to, &region, &service);
    }
    let assume_role = map.get("assumeRole").map(|value| assume_role(reader, &pointer(at, "assumeRole"), value));
    let assume_role = match assume_role {
        Some(read) => Some(read?),
        None => None,
    };
    let access_key_id = access_key_id?;
    Some(Aws { access_key_id, secret_access_key: secret_access_key?, session_token, region, service, assume_role })
}

/// `region` and `service` go into the credential scope, between slashes.
fn scope_part(reader: &mut Reader, at: &str, map: &Map<String, Value>, key: &str, example: &str) -> Option<String> {
    let text = reader.text(at, map, key)?;
    let fine = match key {
        "region" => text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
        _ => text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
    };
    if !fine {
        reader.wrong(&pointer(at, key), format!("`{text}` is not a {key}"), format!("write `{key}: {example}`"));
    }
    Some(text.to_owned())
}

/// Says already here that a host does not tell what to sign for, where it is known beforehand.
fn unclear_hosts(reader: &mut Reader, at: &str, to: &[Binding], region: &Option<String>, service: &Option<String>) {
    for (index, binding) in to.iter().enumerate() {
        let scope = match binding {
            Binding::Host { host: HostPattern::Name(name), .. } => endpoint::scope_of(name),
            Binding::Host { host: HostPattern::OneLabel(_) | HostPattern::Labels(_), .. } => continue,
            Binding::Host { .. } | Binding::Socket(_) => endpoint::Scope::default(),
        };
        let mut missing = Vec::new();
        if region.is_none() && scope.region.is_none() {
            missing.push("`region: eu-west-1`");
        }
        if service.is_none() && scope.service.is_none() {
            missing.push("`service: ecs`");
        }
        if !missing.is_empty() {
            reader.wrong(
                &format!("{at}/to/{index}"),
                format!("`{binding}` does not tell what to sign for"),
                format!("add {} to `awsSigv4`", missing.join(" and ")),
            );
        }
    }
}

fn assume_role(reader: &mut Reader, at: &str, value: &Value) -> Option<AssumeRole> {
    let map = reader.mapping(at, value, "{ roleArn: \"arn:aws:iam::123456789012:role/deploy\" }")?;
    reader.only(at, map, &["roleArn", "sessionName", "externalId", "duration", "endpoint"]);
    let role_arn = reader.required(at, map, "roleArn", "arn:aws:iam::123456789012:role/deploy");
    let role_arn = role_arn.filter(|arn| {
        let fine = arn.starts_with("arn:") && arn.contains(":role/") && !arn.contains(|c: char| c.is_whitespace());
        if !fine {
            let help = "write it as IAM shows it: `arn:aws:iam::123456789012:role/deploy`";
            reader.wrong(&pointer(at, "roleArn"), "this is not the ARN of a role", help);
        }
        fine
    });
    let session_name = reader.text(at, map, "sessionName").unwrap_or("basb-host");
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_=,.@-".contains(&b);
    if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(allowed) {
        let help = "write 2 to 64 letters, digits and any of `_=,.@-`";
        reader.wrong(&pointer(at, "sessionName"), format!("`{session_name}` is not a session name"), help);
    }
    let external_id = reader.text(at, map, "externalId").map(str::to_owned);
    let duration = match reader.text(at, map, "duration").map(Millis::parse) {
        None => Duration::from_secs(3600),
        Some(Ok(millis)) => Duration::from_millis(millis.0),
        Some(Err(message)) => {
            reader.wrong(&pointer(at, "duration"), message, "write `duration: 1h`");
            return None;
        }
    };
    if !(SHORTEST..=LONGEST).contains(&duration) {
        let help = "write a duration from 15m to 12h; the role itself may allow less";
        reader.wrong(&pointer(at, "duration"), "a role cannot be assumed for so long", help);
    }
    let endpoint = reader.endpoint(at, map, "endpoint", Clear::Loopback);
    Some(AssumeRole {
        role_arn: role_arn?.to_owned(),
        session_name: session_name.to_owned(),
        external_id,
        duration,
        endpoint,
    })
}
