//! The text that stands for a secret until the door: `${secret.NAME}` in a deployment file becomes it, plugins pass it
//! on, and the host puts the value in its place on the way out.
//!
//! Stops a plugin from reading a secret by sending its placeholder to a host of its own: a placeholder is replaced only
//! where a credential that this plugin may use is bound to the destination, and a request with any other placeholder is
//! not sent at all. What is replaced is the placeholder as it is written here and nothing else, so another encoding of it
//! (`%5F`, `\u005f`) can never be replaced somewhere unseen; it is refused, because it is a mistake or a trial.
//!
//! What it does not stop: a destination that the secret is bound to gets it wherever the plugin writes it, so bind a
//! secret to hosts that are trusted with it in full.

use basb_redact::SecretName;
use memchr::memmem;
use std::borrow::Cow;
use std::ops::Range;

/// What every placeholder begins with. Made of characters that URLs, forms and JSON leave as they are.
pub const MARK: &str = "__basb.secret.";

/// What every placeholder ends with.
const END: &str = "__";

/// The placeholder of a secret.
#[must_use]
pub fn of(name: &SecretName) -> String {
    format!("{MARK}{name}{END}")
}

/// A placeholder in some text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which bytes of the text.
    pub range: Range<usize>,
    /// The secret that it stands for.
    pub secret: SecretName,
}

/// The placeholders in `text`, in order, none over another.
#[must_use]
pub fn find(text: &[u8]) -> Vec<Found> {
    let mut out: Vec<Found> = Vec::new();
    for start in memmem::find_iter(text, MARK) {
        if out.last().is_some_and(|last| last.range.end > start) {
            continue;
        }
        let rest = text.get(start + MARK.len()..).unwrap_or_default();
        let length = rest.iter().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'-').count();
        let (name, rest) = rest.split_at(length);
        let secret = std::str::from_utf8(name).ok().and_then(|name| SecretName::new(name).ok());
        if let (Some(secret), true) = (secret, rest.starts_with(END.as_bytes())) {
            out.push(Found { range: start..start + MARK.len() + length + END.len(), secret });
        }
    }
    out
}

/// The secret that `text` stands for, if it is one placeholder and nothing else.
#[must_use]
pub fn whole(text: &str) -> Option<SecretName> {
    let found = find(text.as_bytes());
    match found.as_slice() {
        [one] if one.range == (0..text.len()) => Some(one.secret.clone()),
        _ => None,
    }
}

/// Whether `text` begins like a placeholder anywhere, in whatever letters.
#[must_use]
pub fn hinted(text: &str) -> bool {
    memmem::find(text.to_ascii_lowercase().as_bytes(), MARK.as_bytes()).is_some()
}

/// How often URL decoding and JSON unescaping are tried on top of each other.
const ROUNDS: usize = 3;

/// Whether there is a placeholder in `text` that appears only when percent encoding or JSON escapes are undone.
#[must_use]
pub fn disguised(text: &[u8]) -> bool {
    if memchr::memchr2(b'%', b'\\', text).is_none() {
        return false;
    }
    let plain = memmem::find_iter(text, MARK).count();
    let mut seen = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        let decoded = match unescaped(&seen) {
            Cow::Borrowed(_) => break,
            Cow::Owned(decoded) => decoded,
        };
        if memmem::find_iter(&decoded, MARK).count() > plain {
            return true;
        }
        seen = Cow::Owned(decoded);
    }
    false
}

/// `%XX` and `\u00XX` undone once; borrowed when there is neither.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut done = 0;
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'%', b'\\', text.get(at..).unwrap_or_default()) {
        let start = at + next;
        let escape = match text.get(start..) {
            Some([b'%', rest @ ..]) => hex(rest, 2).map(|value| (value, 3)),
            Some([b'\\', b'u', rest @ ..]) => hex(rest, 4).map(|value| (value, 6)),
            _ => None,
        };
        // What is no ASCII cannot be part of a placeholder and stays as it is.
        if let Some((value, length)) = escape
            && let Ok(byte) = u8::try_from(value)
        {
            let out = out.get_or_insert_with(|| Vec::with_capacity(text.len()));
            out.extend_from_slice(text.get(done..start).unwrap_or_default());
            out.push(byte);
            done = start + length;
            at = done;
        } else {
            at = start + 1;
        }
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.extend_from_slice(text.get(done..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

fn hex(text: &[u8], digits: usize) -> Option<u32> {
    let text = text.get(..digits).filter(|text| text.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<String> {
        find(text.as_bytes()).into_iter().map(|found| String::from(found.secret)).collect()
    }

    #[test]
    fn placeholders_are_found_as_they_are_written() {
        let name = SecretName::new("slack-url").unwrap();
        assert_eq!(whole(&of(&name)), Some(name.clone()));
        assert_eq!(names(&format!("a{}{}b", of(&name), of(&name))), ["slack-url", "slack-url"]);
        assert_eq!(names("__basb.secret.a__basb.secret.b__"), ["a"]);
        assert_eq!(names("___basb.secret.a___"), ["a"]);
        for not in
            ["__basb.secret.__", "__basb.secret.a_", "__basb.secret.A__", "__basb.secret.-a__", "_basb.secret.a__", ""]
        {
            assert!(find(not.as_bytes()).is_empty(), "{not}");
            assert_eq!(whole(not), None);
        }
        assert_eq!(whole(&format!("{} ", of(&name))), None);
    }

    #[test]
    fn another_encoding_is_noticed() {
        for hidden in [
            "%5F%5Fbasb.secret.a__",
            "%5f_basb.secret.a__",
            "__basb%2Esecret%2ea__",
            "__%62asb.secret.a__",
            "%255F_basb.secret.a__",
            "%25255F_basb.secret.a__",
            "\\u005f_basb.secret.a__",
            "\\u005F\\u005Fbasb.secret.a__",
            "__b\\u0061sb.secret.a__",
            "\\u00255f_basb.secret.a__",
            "__basb.secret.a__ and %5F_basb.secret.b__",
        ] {
            assert!(disguised(hidden.as_bytes()), "{hidden}");
        }
        for plain in
            ["__basb.secret.a__", "100% sure", "%zz %5", "\\u00", "\\n", "__basb.secret.a__%20\\u0020", "%E2%98%83"]
        {
            assert!(!disguised(plain.as_bytes()), "{plain}");
        }
    }

    proptest! {
        #[test]
        fn any_mixture_of_encodings_is_noticed(how in prop::collection::vec(0_u8..4, 18)) {
            let text = "__basb.secret.a-1__";
            let mut out = String::new();
            let mut touched = false;
            for (index, c) in text.chars().enumerate() {
                // Behind the mark a disguise changes nothing: the text is no placeholder then.
                match how.get(index).filter(|_| index < MARK.len()) {
                    Some(1) => out.push_str(&format!("%{:02x}", u32::from(c))),
                    Some(2) => out.push_str(&format!("\\u{:04X}", u32::from(c))),
                    Some(3) => out.push_str(&format!("%25{:02X}", u32::from(c))),
                    _ => {
                        out.push(c);
                        continue;
                    }
                }
                touched = true;
            }
            prop_assert_eq!(disguised(out.as_bytes()), touched);
        }

        #[test]
        fn nothing_makes_it_stumble(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (find(&text), disguised(&text));
        }
    }
}
