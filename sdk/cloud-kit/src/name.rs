//! Names that fit a counterpart's rules, and digests.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// What a counterpart allows in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// `a-z`, `0-9` and `-`; begins with a letter, ends with a letter or digit (DNS labels, Cloud Run, Container Apps).
    Label,
    /// The same with `_` and `.` too (containers, files).
    Loose,
}

impl Alphabet {
    fn takes(self, character: char) -> bool {
        let base = character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
        base || (self == Alphabet::Loose && matches!(character, '_' | '.'))
    }
}

/// The parts, joined by `-`, as a name of at most `longest` characters.
///
/// Different parts have different names: where something had to be left out or replaced, or where joining alone would
/// not tell `a-b` + `c` from `a` + `b-c`, a digest of the parts as they are stands at the end. The same parts have the
/// same name for ever: it is how a later call finds the thing again, so this function never changes.
pub fn name(parts: &[&str], alphabet: Alphabet, longest: usize) -> String {
    let mut plain = String::new();
    let mut altered = parts.iter().any(|part| part.contains('-'));
    for part in parts {
        if !plain.is_empty() {
            plain.push('-');
        }
        for character in part.chars() {
            let lower = character.to_ascii_lowercase();
            let taken = if alphabet.takes(lower) { lower } else { '-' };
            altered |= taken != character;
            // Some counterparts refuse two hyphens in a row.
            if taken == '-' && plain.ends_with('-') {
                altered = true;
            } else {
                plain.push(taken);
            }
        }
    }
    if !plain.starts_with(|first: char| first.is_ascii_lowercase()) {
        plain.insert(0, 'x');
        altered = true;
    }
    let trimmed = plain.trim_end_matches(['-', '.', '_']);
    altered |= trimmed.len() != plain.len();
    if !altered && trimmed.len() <= longest {
        return trimmed.to_owned();
    }
    const DIGEST: usize = 8;
    let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let tail = format!("{:016x}", hash(&bytes));
    let tail = tail.get(..DIGEST.min(longest)).unwrap_or_default();
    // Everything is ASCII by now, so that a byte is a character.
    let room = longest.saturating_sub(tail.len() + 1);
    let front = trimmed.get(..room.min(trimmed.len())).unwrap_or_default().trim_end_matches(['-', '.', '_']);
    if front.is_empty() { tail.to_owned() } else { format!("{front}-{tail}") }
}

/// `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A number of the parts. Each part's length goes in before it, so that no two lists of parts read the same.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        sha.update(part);
    }
    let digest = sha.finalize();
    let mut number = [0; 8];
    number.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_readable() {
        assert_eq!(name(&["shop", "prod", "web"], Alphabet::Label, 63), "shop-prod-web");
        assert_eq!(name(&["shop", "web_v2"], Alphabet::Loose, 63), "shop-web_v2");
    }

    #[test]
    fn different_parts_have_different_names() {
        let mut seen = std::collections::BTreeMap::new();
        let long = "x".repeat(80);
        let lists: [&[&str]; 12] = [
            &["a-b", "c"],
            &["a", "b-c"],
            &["a", "b", "c"],
            &["A", "b", "c"],
            &["a", "b.c"],
            &["a", "b_c"],
            &["a", &long],
            &["a", &long, "y"],
            &["1a"],
            &["x1a"],
            &["a-"],
            &["a--b", "c"],
        ];
        for parts in lists {
            let made = name(parts, Alphabet::Label, 32);
            assert!(made.len() <= 32, "{made}");
            assert!(
                made.starts_with(|c: char| c.is_ascii_lowercase()) && !made.ends_with('-') && !made.contains("--"),
                "{made}"
            );
            assert!(made.chars().all(|c| Alphabet::Label.takes(c)), "{made}");
            if let Some(other) = seen.insert(made.clone(), parts) {
                panic!("{other:?} and {parts:?} are both {made}");
            }
        }
    }

    #[test]
    fn names_are_the_same_for_ever() {
        assert_eq!(name(&["second-brain", "aws", "capture", "r1"], Alphabet::Label, 32), GOLDEN);
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
    }

    const GOLDEN: &str = "second-brain-aws-captur-d41fce74";
}
