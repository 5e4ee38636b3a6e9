//! What things are called, so that a later call finds them again.

use basb_cloud_kit::{Alphabet, digest, name};
use basb_plugin::ServiceRef;

/// A service's name and a tag have 46 characters together; a revision's id has 13.
const LONGEST: usize = 32;
/// The longest name of a service that others chose: enough is left for a tag that tells revisions apart.
pub const LONGEST_WRITTEN: usize = 38;
const TAG_AND_SERVICE: usize = 46;
const LONGEST_REVISION: usize = 63;
/// So many digits of a digest stand in a revision's name.
const DIGITS: usize = 6;

/// What the Cloud Run service of a service is called.
pub fn of_service(service: &ServiceRef) -> String {
    name(&[&service.deployment, &service.environment, &service.service], Alphabet::Label, LONGEST)
}

/// What the Cloud Run revision is called that runs a revision of ours with this configuration. Cloud Run wants the
/// service's name in front. Another configuration, and another attempt after one that failed, have another name: what a
/// name stood for once, it stands for always.
pub fn of_revision(service: &str, revision: &str, config: &str, attempt: Option<&str>) -> String {
    let room = LONGEST_REVISION.saturating_sub(service.len() + 1);
    let cut = |text: &str| text.get(..DIGITS.min(text.len())).unwrap_or_default().to_owned();
    let mut rest = format!("{revision}-{}", cut(config));
    if let Some(attempt) = attempt {
        rest = format!("{rest}-{}", cut(attempt));
    }
    let plain = revision.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !plain || rest.len() > room {
        rest = name(&[revision, config, attempt.unwrap_or_default()], Alphabet::Label, room.min(LONGEST));
    }
    format!("{service}-{rest}")
}

/// The tag by which a revision alone is reached.
pub fn tag(service: &str, revision: &str) -> String {
    // A tag has three characters at the least.
    let parts: &[&str] = if revision.len() < 3 { &["tag", revision] } else { &[revision] };
    name(parts, Alphabet::Label, TAG_AND_SERVICE.saturating_sub(service.len()))
}

/// The hexadecimal digits of a text's digest: as many as a label takes.
pub fn hex(text: &str) -> String {
    digest(text.as_bytes()).chars().skip("sha256:".len()).take(32).collect()
}

/// What a revision that others made is called.
pub fn adopted(revision: &str) -> String {
    let digits = hex(revision);
    format!("x{}", digits.get(..12).unwrap_or_default())
}

/// Whether a revision's id is one that we gave to what others made.
pub fn is_adopted(revision: &str) -> bool {
    revision.strip_prefix('x').is_some_and(|hex| hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_cloud_runs_limits() {
        for part in ["web", "second-brain", "a-name-that-is-rather-long-for-a-service"] {
            let service = ServiceRef { deployment: part.into(), environment: "gcp".into(), service: part.into() };
            let service = of_service(&service);
            assert!(service.len() <= 32, "{service}");
            for service in [service, "x".repeat(LONGEST_WRITTEN)] {
                let config = hex("config");
                let plain = of_revision(&service, "r0a1b2c3d4e5f", &config, None);
                let again = of_revision(&service, "r0a1b2c3d4e5f", &config, Some(&hex("key")));
                assert_ne!(plain, again);
                for name in [plain, again] {
                    assert!(name.len() <= 63 && name.starts_with(&format!("{service}-")), "{name}");
                    assert!(!name.ends_with('-'), "{name}");
                }
                let tag = tag(&service, "r0a1b2c3d4e5f");
                assert!(tag.len() >= 3 && tag.len() + service.len() <= 46, "{tag} {service}");
            }
        }
        assert_eq!(of_revision("web", "r0a1b2c3d4e5f", "0123456789", None), "web-r0a1b2c3d4e5f-012345");
        assert_eq!(tag("web", "r0a1b2c3d4e5f"), "r0a1b2c3d4e5f");
        assert!(is_adopted(&adopted("web-00001-abc")) && !is_adopted("r0a1b2c3d4e5f"));
    }
}
