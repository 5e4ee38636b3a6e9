//! Which credentials a request gets: those that the plugin may use **and** that are bound to the destination.
//!
//! A pure function. Stops a credential from being used for a plugin it was not given to or a destination it is not bound
//! to, and two credentials from silently overriding one another.

use crate::config::{Credential, Kind};
use crate::destination::bound;
use crate::error::{placeholder_lines, use_lines};
use crate::{CredentialError, CredentialName, CredentialsConfig, Place, aws, destination};
use basb_redact::SecretName;
use http::HeaderName;
use http::header::AUTHORIZATION;
use std::collections::BTreeMap;
use url::Url;

/// What a request gets.
#[derive(Debug, Default)]
pub(crate) struct Chosen<'a> {
    /// The credentials that act on every request to this destination.
    pub acting: Vec<(&'a CredentialName, &'a Credential)>,
    /// The secrets whose placeholders are replaced, and by which credential.
    pub placeholders: BTreeMap<&'a SecretName, &'a CredentialName>,
}

/// Something that only one credential can set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Header(String),
    ClientCertificate,
    Authority,
}

/// Chooses.
///
/// # Errors
/// A name that is no credential; two credentials that would set the same thing.
pub(crate) fn choose<'a>(
    config: &'a CredentialsConfig,
    allowed: &'a [CredentialName],
    url: &Url,
    place: &Place,
) -> Result<Chosen<'a>, CredentialError> {
    let mut chosen = Chosen::default();
    let mut claims: BTreeMap<Claim, &CredentialName> = BTreeMap::new();
    for name in allowed {
        let credential = known(config, name)?;
        if !bound(&credential.to, url, place) || chosen.acting.iter().any(|(other, _)| *other == name) {
            continue;
        }
        if let Kind::Placeholder(secret) = &credential.kind {
            chosen.placeholders.entry(secret).or_insert(name);
            continue;
        }
        for claim in claimed(&credential.kind) {
            if let Some(other) = claims.get(&claim) {
                return Err(conflict(other, name, &claim, url, place));
            }
            claims.insert(claim, name);
        }
        chosen.acting.push((name, credential));
    }
    Ok(chosen)
}

/// The credential with this name.
pub(crate) fn known<'a>(
    config: &'a CredentialsConfig,
    name: &CredentialName,
) -> Result<&'a Credential, CredentialError> {
    config.credentials.get(name).ok_or_else(|| {
        let known: Vec<_> = config.credentials.keys().map(CredentialName::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        CredentialError::new(
            "credential/unknown",
            format!("there is no credential `{name}`"),
            format!("define it under `credentials`; there are: {known}"),
        )
    })
}

/// The headers that a credential sets; what a plugin wrote into them is removed.
pub(crate) fn owned(kind: &Kind) -> Vec<HeaderName> {
    match kind {
        Kind::AwsSigv4(_) => aws::OWNED.to_vec(),
        Kind::GcpServiceAccount(_)
        | Kind::GcpMetadata(_)
        | Kind::AzureClient(_)
        | Kind::Bearer(_)
        | Kind::Basic { .. } => vec![AUTHORIZATION],
        Kind::Header { name, .. } => vec![name.clone()],
        Kind::Mtls { .. } | Kind::Authority(_) | Kind::Placeholder(_) => Vec::new(),
    }
}

fn claimed(kind: &Kind) -> Vec<Claim> {
    match kind {
        Kind::Mtls { .. } => return vec![Claim::ClientCertificate],
        Kind::Authority(_) => return vec![Claim::Authority],
        _ => {}
    }
    owned(kind).into_iter().map(|name| Claim::Header(name.as_str().to_owned())).collect()
}

fn conflict(
    first: &CredentialName,
    second: &CredentialName,
    claim: &Claim,
    url: &Url,
    place: &Place,
) -> CredentialError {
    let what = match claim {
        Claim::Header(name) => format!("set the header `{name}`"),
        Claim::ClientCertificate => "show a client certificate".to_owned(),
        Claim::Authority => "say which authority vouches".to_owned(),
    };
    CredentialError::new(
        "credential/conflict",
        format!("the credentials `{first}` and `{second}` would both {what} for {}", shown(url, place)),
        "bind one of them to other destinations, or take one of them from the plugin's `credentials`",
    )
}

fn shown(url: &Url, place: &Place) -> String {
    match place {
        Place::Socket(name) => format!("socket {}", basb_grants::printable(name, 100)),
        Place::Network => destination::origin(url),
    }
}

/// The error for a placeholder that no credential puts here, with the lines that would.
pub(crate) fn not_bound(
    config: &CredentialsConfig,
    allowed: &[CredentialName],
    secret: &SecretName,
    url: &Url,
    place: &Place,
) -> CredentialError {
    let message = format!(
        "the secret `{secret}` is not for {}: its placeholder was not replaced and nothing was sent",
        shown(url, place)
    );
    let entry = destination::entry(url, place);
    let of_secret = || {
        config
            .credentials
            .iter()
            .filter(|(_, credential)| matches!(&credential.kind, Kind::Placeholder(other) if other == secret))
    };
    let bound_here = of_secret().find(|(_, credential)| bound(&credential.to, url, place));
    let allowed_elsewhere = of_secret().find(|(name, _)| allowed.contains(name));
    let help = if let Some((name, _)) = bound_here {
        format!("if this plugin is meant to use it:\n{}", use_lines(&[name]))
    } else if let Some((name, credential)) = allowed_elsewhere {
        let bindings: Vec<_> = credential.to.iter().map(ToString::to_string).collect();
        format!(
            "`{name}` is bound to {}; if it is meant to go here too, add to its `to`:\n- {entry}",
            bindings.join(", ")
        )
    } else {
        format!("if it is meant to go here:\n{}", placeholder_lines(secret, &entry))
    };
    CredentialError { code: "credential/not-bound", message, help }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn name(text: &str) -> CredentialName {
        CredentialName::new(text).unwrap()
    }

    fn config() -> CredentialsConfig {
        let to = json!([{"host": "**.example.com"}]);
        CredentialsConfig::parse(&json!({
            "api": {"to": to, "bearer": "token"},
            "other": {"to": [{"host": "a.example.com"}], "basic": {"username": "u", "password": "pw"}},
            "key": {"to": to, "header": {"name": "x-api-key", "value": "key"}},
            "key-two": {"to": to, "header": {"name": "X-API-Key", "value": "key"}},
            "one": {"to": to, "mtls": {"certificate": "c", "key": "k"}},
            "two": {"to": to, "mtls": {"certificate": "c", "key": "k"}},
            "hook": {"to": to, "placeholder": "url"},
            "aws": {"to": to, "awsSigv4": {"accessKeyId": "i", "secretAccessKey": "k", "region": "r", "service": "s"}},
            "date": {"to": to, "header": {"name": "x-amz-date", "value": "key"}}
        }))
        .unwrap()
    }

    fn chosen(allowed: &[&str], url: &str) -> Result<Vec<String>, String> {
        let allowed: Vec<_> = allowed.iter().map(|text| name(text)).collect();
        let config = config();
        let chosen = choose(&config, &allowed, &Url::parse(url).unwrap(), &Place::Network);
        let chosen = chosen.map_err(|error| format!("{}: {error}", error.code))?;
        let acting = chosen.acting.iter().map(|(name, _)| name.to_string());
        Ok(acting.chain(chosen.placeholders.values().map(ToString::to_string)).collect())
    }

    #[test]
    fn a_credential_must_be_allowed_and_bound() {
        assert_eq!(chosen(&["api", "key", "hook"], "https://a.example.com/").unwrap(), ["api", "key", "hook"]);
        assert_eq!(chosen(&["api"], "https://b.example.com/").unwrap(), ["api"]);
        assert_eq!(chosen(&["other"], "https://b.example.com/").unwrap(), Vec::<String>::new());
        assert_eq!(chosen(&[], "https://a.example.com/").unwrap(), Vec::<String>::new());
        assert_eq!(chosen(&["api"], "https://evil.org/").unwrap(), Vec::<String>::new());
        assert_eq!(chosen(&["api", "api"], "https://a.example.com/").unwrap(), ["api"]);
        assert!(chosen(&["nope"], "https://a.example.com/").unwrap_err().contains("credential/unknown"));
    }

    #[test]
    fn two_that_set_the_same_are_an_error_that_names_both() {
        for pair in [["api", "other"], ["key", "key-two"], ["one", "two"], ["aws", "api"], ["aws", "date"]] {
            let error = chosen(&pair, "https://a.example.com/").unwrap_err();
            assert!(error.starts_with("credential/conflict") && pair.iter().all(|n| error.contains(n)), "{error}");
        }
        assert!(chosen(&["api", "other"], "https://b.example.com/").is_ok());
    }

    #[test]
    fn the_help_fits_what_is_missing() {
        let config = config();
        let url = Url::parse("http://hooks.evil.org:81/x").unwrap();
        let help = |allowed: &[CredentialName], secret: &str, url: &Url| {
            not_bound(&config, allowed, &name(secret), url, &Place::Network).help
        };
        assert!(help(&[], "fresh", &url).contains(
            "credentials:\n  fresh:\n    to: [{ host: hooks.evil.org, scheme: http, port: 81 }]\n    placeholder: fresh\nplugins:\n"
        ));
        assert!(help(&[name("hook")], "url", &url).contains("add to its `to`:\n- { host: hooks.evil.org, "));
        let bound = Url::parse("https://a.example.com/").unwrap();
        assert!(help(&[], "url", &bound).contains("credentials: [hook]"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_not_allowed_is_chosen(allowed in prop::collection::vec(0_usize..9, 0..5), host in "[a-z]{1,3}(\\.example\\.com|\\.org)") {
            let config = config();
            let names = config.names();
            let allowed: Vec<_> = allowed.into_iter().map(|index| names[index].clone()).collect();
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            if let Ok(chosen) = choose(&config, &allowed, &url, &Place::Network) {
                let used = chosen.acting.iter().map(|(name, _)| *name).chain(chosen.placeholders.values().copied());
                for used in used {
                    prop_assert!(allowed.contains(used) && host.ends_with(".example.com"));
                }
            }
        }
    }
}
