//! Undoes one layer of escaping, and knows where each byte of the result comes from.

use std::ops::Range;

/// A way to write some characters as several others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `%2B`, and `+` for a space. A plus, written either way, becomes a space: see [`crate::forms`].
    Percent,
    /// `\"`, `\n`, `\u00e9`, and what programming languages add to JSON.
    Backslash,
    /// `&amp;`, `&#38;`, `&#x26;`.
    Entity,
}

impl Coding {
    pub(crate) const ALL: [Self; 3] = [Self::Percent, Self::Backslash, Self::Entity];
    /// No escape is longer than this: two `\uXXXX` for a character beyond the basic plane.
    pub(crate) const LONGEST: usize = 12;
}

/// An escape in the source, and what it became.
#[derive(Debug, Clone, Copy)]
struct Token {
    source: usize,
    source_end: usize,
    text: usize,
    text_end: usize,
}

/// A text without one layer of escapes.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) text: Vec<u8>,
    tokens: Vec<Token>,
    /// Whether the text differs from the source also where there is no token.
    spaced: bool,
}

impl Decoded {
    /// Where a range of the decoded text is in the source; whole escapes.
    pub(crate) fn source(&self, range: Range<usize>) -> Range<usize> {
        let start = match self.token_before(range.start) {
            Some(token) if range.start < token.text_end => token.source,
            Some(token) => token.source_end + (range.start - token.text_end),
            None => range.start,
        };
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else { return start..start };
        let end = match self.token_before(last) {
            Some(token) if last < token.text_end => token.source_end,
            Some(token) => token.source_end + (last - token.text_end) + 1,
            None => range.end,
        };
        start..end
    }

    /// The escapes, as ranges of the source.
    pub(crate) fn escapes(&self) -> impl Iterator<Item = Range<usize>> {
        self.tokens.iter().map(|token| token.source..token.source_end)
    }

    /// The places of the decoded text where something of at most this length starts that an escape is in; nothing if that
    /// can be everywhere.
    pub(crate) fn near_escapes(&self, longest: usize) -> Option<impl Iterator<Item = Range<usize>>> {
        let mut tokens = self.tokens.iter().peekable();
        (!self.spaced).then_some(std::iter::from_fn(move || {
            let first = tokens.next()?;
            let mut end = first.text_end;
            while let Some(next) = tokens.next_if(|next| next.text <= end + longest) {
                end = next.text_end;
            }
            Some(first.text.saturating_sub(longest)..end)
        }))
    }

    /// Whether this range of the decoded text may differ from the source.
    pub(crate) fn has_escape(&self, range: &Range<usize>) -> bool {
        self.spaced || self.has_token(range)
    }

    /// Whether an escape that is more than a `+` is in this range of the decoded text.
    pub(crate) fn has_token(&self, range: &Range<usize>) -> bool {
        let before = range.end.checked_sub(1).and_then(|last| self.token_before(last));
        before.is_some_and(|token| token.text_end > range.start)
    }

    fn token_before(&self, at: usize) -> Option<&Token> {
        self.tokens.get(..self.tokens.partition_point(|token| token.text <= at))?.last()
    }
}

/// `source` without a layer of escapes; nothing if it has none. `plus` says whether a text without any `%` needs to be
/// looked at because of its `+`.
pub(crate) fn decode(source: &[u8], coding: Coding, plus: PlusAlone) -> Option<Decoded> {
    let mark = match coding {
        Coding::Percent => b'%',
        Coding::Backslash => b'\\',
        Coding::Entity => b'&',
    };
    let first = memchr::memchr(mark, source);
    let plus = coding == Coding::Percent && (first.is_some() || plus == PlusAlone::Matters);
    if first.is_none() && !(plus && memchr::memchr(b'+', source).is_some()) {
        return None;
    }
    let mut text = Vec::with_capacity(source.len());
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut next = first;
    while let Some(here) = next {
        let rest = source.get(here..).unwrap_or_default();
        let escape = match coding {
            Coding::Percent => percent(rest),
            Coding::Backslash => backslash(rest),
            Coding::Entity => entity(rest),
        };
        text.extend_from_slice(source.get(at..here).unwrap_or_default());
        if let Some(Escape { length, bytes, count }) = escape {
            let start = text.len();
            text.extend_from_slice(bytes.get(..count).unwrap_or_default());
            tokens.push(Token { source: here, source_end: here + length, text: start, text_end: text.len() });
            at = here + length;
        } else {
            text.push(mark);
            at = here + 1;
        }
        next = source.get(at..).and_then(|rest| memchr::memchr(mark, rest)).map(|found| at + found);
    }
    text.extend_from_slice(source.get(at..).unwrap_or_default());
    let mut spaced = false;
    if plus {
        for byte in text.iter_mut().filter(|byte| **byte == b'+') {
            *byte = b' ';
            spaced = true;
        }
    }
    (spaced || !tokens.is_empty()).then_some(Decoded { text, tokens, spaced })
}

/// Whether a `+` in a text without `%` can stand for a space in a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlusAlone {
    Matters,
    DoesNot,
}

struct Escape {
    length: usize,
    bytes: [u8; 4],
    count: usize,
}

impl Escape {
    fn byte(length: usize, byte: u8) -> Self {
        Self { length, bytes: [byte, 0, 0, 0], count: 1 }
    }

    fn character(length: usize, code: u32) -> Option<Self> {
        let mut bytes = [0; 4];
        let count = char::from_u32(code)?.encode_utf8(&mut bytes).len();
        Some(Self { length, bytes, count })
    }
}

fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

fn hex_all(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + hex(*digit)?))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::try_from(hex_all(digits)?).ok()
}

fn percent(rest: &[u8]) -> Option<Escape> {
    Some(Escape::byte(3, hex_byte(rest.get(1..3)?)?))
}

fn backslash(rest: &[u8]) -> Option<Escape> {
    let byte = match *rest.get(1)? {
        own @ (b'"' | b'\\' | b'/' | b'\'') => own,
        b'0' => 0,
        b'a' => 7,
        b'v' => 11,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => return Some(Escape::byte(4, hex_byte(rest.get(2..4)?)?)),
        b'u' if rest.get(2) == Some(&b'{') => {
            let digits = rest.get(3..)?.iter().take(7).position(|byte| *byte == b'}')?;
            let digits = rest.get(3..3 + digits).filter(|digits| !digits.is_empty())?;
            return Escape::character(digits.len() + 4, hex_all(digits)?);
        }
        b'u' => {
            let code = hex_all(rest.get(2..6)?)?;
            if !(0xd800..0xdc00).contains(&code) {
                return Escape::character(6, code);
            }
            let low = rest.get(6..12)?.strip_prefix(b"\\u").and_then(hex_all)?;
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            return Escape::character(12, 0x10000 + ((code - 0xd800) << 10) + low);
        }
        _ => return None,
    };
    Some(Escape::byte(2, byte))
}

fn entity(rest: &[u8]) -> Option<Escape> {
    let end = rest.iter().take(Coding::LONGEST).position(|byte| *byte == b';')?;
    let name = rest.get(1..end)?;
    let code = match name {
        b"amp" => u32::from(b'&'),
        b"lt" => u32::from(b'<'),
        b"gt" => u32::from(b'>'),
        b"quot" => u32::from(b'"'),
        b"apos" => u32::from(b'\''),
        [b'#', b'x' | b'X', digits @ ..] if (1..=6).contains(&digits.len()) => hex_all(digits)?,
        [b'#', digits @ ..] if (1..=7).contains(&digits.len()) => {
            digits.iter().try_fold(0, |sum, digit| Some(sum * 10 + char::from(*digit).to_digit(10)?))?
        }
        _ => return None,
    };
    Escape::character(end + 1, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, coding: Coding) -> Option<String> {
        decode(source.as_bytes(), coding, PlusAlone::DoesNot)
            .map(|decoded| String::from_utf8_lossy(&decoded.text).into_owned())
    }

    #[test]
    fn percent_encoding() {
        assert_eq!(of("a%2Fb%2fc", Coding::Percent).unwrap(), "a/b/c");
        assert_eq!(of("%%41%4%4", Coding::Percent).unwrap(), "%A%4%4");
        assert_eq!(of("a+%2B+", Coding::Percent).unwrap(), "a   ");
        assert_eq!(of("100%", Coding::Percent), None);
        assert_eq!(of("a+b", Coding::Percent), None);
        assert_eq!(decode(b"a+b", Coding::Percent, PlusAlone::Matters).unwrap().text, b"a b");
    }

    #[test]
    fn backslashes() {
        assert_eq!(of(r#"\"\\\/\n\u00e9\u00E9"#, Coding::Backslash).unwrap(), "\"\\/\néé");
        assert_eq!(of(r"\ud83d\ude00\u{1F600}\x41", Coding::Backslash).unwrap(), "😀😀A");
        // half a pair, a pair that is none, a code beyond Unicode, unknown escapes, cut ones
        for broken in [r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\u{110000}", r"\u{}", r"\q", r"\u00", "\\", r"\x4"] {
            let decoded = of(broken, Coding::Backslash);
            assert!(decoded.is_none() || broken == r"\ud83d\u0041", "{broken}: {decoded:?}");
        }
    }

    #[test]
    fn entities() {
        assert_eq!(of("&amp;&lt;&gt;&quot;&apos;&#38;&#x26;", Coding::Entity).unwrap(), "&<>\"'&&");
        assert_eq!(of("a&b;&nbsp;&#;&#x;&#x110000;&", Coding::Entity), None);
    }

    #[test]
    fn where_a_byte_comes_from() {
        let decoded = decode(br"ab\u00e9c\n", Coding::Backslash, PlusAlone::DoesNot).unwrap();
        assert_eq!(decoded.text, "abéc\n".as_bytes());
        assert_eq!(decoded.source(0..2), 0..2);
        assert_eq!(decoded.source(1..3), 1..8, "half a character takes the whole escape");
        assert_eq!(decoded.source(3..4), 2..8);
        assert_eq!(decoded.source(4..5), 8..9);
        assert_eq!(decoded.source(5..6), 9..11);
        assert_eq!(decoded.source(0..6), 0..11);
        assert_eq!(decoded.source(4..4), 8..8);
    }
}
