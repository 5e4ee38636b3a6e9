//! Placeholders of secrets in what a plugin sends.

use crate::Target;
use basb_credentials::placeholder::{MARK, disguised, find, hinted, of, whole};

pub(crate) const TARGET: Target = Target {
    name: "placeholder",
    run,
    more: &[],
    words: &["__basb.secret.", "__", "__basb.secret.a__", "%5F", "%5f", "%255F", "\\u005f", "basb", "secret", "A", "-"],
};

fn run(input: &[u8]) {
    let found = find(input);
    let mut end = 0;
    let mut left = Vec::new();
    for place in &found {
        assert!(place.range.start >= end, "in order, none over another");
        assert_eq!(&input[place.range.clone()], of(&place.secret).as_bytes());
        left.extend_from_slice(&input[end..place.range.start]);
        left.push(b' ');
        end = place.range.end;
    }
    left.extend_from_slice(&input[end..]);
    assert!(find(&left).is_empty(), "one was overlooked: {}", input.escape_ascii());
    if let Ok(text) = std::str::from_utf8(input) {
        assert_eq!(whole(text).is_some(), found.len() == 1 && found[0].range == (0..input.len()));
        assert!(hinted(text) || found.is_empty());
    }
    if !disguised(input) {
        // Neither reading shows one that was not seen.
        let count = |bytes: &[u8]| bytes.windows(MARK.len()).filter(|part| *part == MARK.as_bytes()).count();
        let seen = count(input);
        assert!(count(&percent(input)) <= seen, "{}", input.escape_ascii());
        assert!(count(&percent(&percent(input))) <= seen, "{}", input.escape_ascii());
        if let Ok(text) = std::str::from_utf8(input)
            && let Ok(json) = serde_json::from_str::<String>(&format!("\"{text}\""))
        {
            assert!(count(json.as_bytes()) <= seen, "{}", input.escape_ascii());
        }
    }
}

fn percent(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, more @ ..] = rest {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value =
            digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|d| u8::from_str_radix(d, 16).ok());
        match value.filter(|_| *first == b'%') {
            Some(value) => {
                out.push(value);
                rest = &more[2..];
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    out
}
