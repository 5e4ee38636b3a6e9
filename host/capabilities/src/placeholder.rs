//! Where a placeholder of a secret must not be.
//!
//! Stops a placeholder from leaving the host unreplaced, which would tell a stranger the names of secrets, and keeps a
//! plugin that puts one into the wrong place from failing in a way nobody understands.

use memchr::memmem;
use std::sync::LazyLock;

/// What every placeholder begins with (`basb_credentials::placeholder`).
pub(crate) const START: &str = "__basb.secret.";

static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(START));

/// Whether there is a placeholder in `bytes`.
pub(crate) fn is_in(bytes: &[u8]) -> bool {
    FINDER.find(bytes).is_some()
}

/// What stands before the first placeholder of a text, the secret that it names, and what stands behind it.
pub(crate) fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (front, rest) = text.split_once(START)?;
    let (name, behind) = rest.split_once("__")?;
    Some((front, name, behind))
}

/// The name in the first placeholder in `bytes`, whether or not it is a whole one.
pub(crate) fn first(bytes: &[u8]) -> Option<String> {
    let start = FINDER.find(bytes)? + START.len();
    let rest = bytes.get(start..).unwrap_or_default();
    let name = rest.iter().take(63).take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'-');
    Some(name.map(|b| char::from(*b)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_found_wherever_it_stands() {
        let name = basb_credentials::CredentialName::new("smtp-password").unwrap();
        let text = format!("x={}&y", basb_credentials::placeholder::of(&name));
        assert!(is_in(text.as_bytes()));
        assert!(!is_in(b"__basb.secre"));
        assert_eq!(first(text.as_bytes()).as_deref(), Some("smtp-password"));
        assert_eq!(split(&text), Some(("x=", "smtp-password", "&y")));
        assert_eq!(first(b"__basb.secret."), Some(String::new()));
    }
}
