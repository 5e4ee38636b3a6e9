//! Patterns for hosts, paths and other text.
//!
//! Stops a pattern from covering more than it shows: a `*` in a host is one label (`*.example.com` covers neither
//! `example.com` nor `a.b.example.com`), a host pattern never covers an IP address, a `*` in a path stays within its
//! segment.

use globset::{GlobBuilder, GlobMatcher};
use std::fmt;
use std::net::IpAddr;

/// Why a pattern cannot be used: what is wrong, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct PatternError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A host as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// An IP address, covering itself only, and reachable even where it is loopback or private.
    Address(IpAddr),
    /// `localhost`: this machine.
    Localhost,
    /// This name.
    Name(String),
    /// `*.example.com`: one label in front of this suffix.
    OneLabel(String),
    /// `**.example.com`: one label or more in front of this suffix.
    Labels(String),
}

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for anything that is neither an address, nor a name, nor a name behind `*.` or `**.`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let lower = text.to_ascii_lowercase();
        let (rest, make): (&str, fn(String) -> Self) = if let Some(rest) = lower.strip_prefix("**.") {
            (rest, Self::Labels)
        } else if let Some(rest) = lower.strip_prefix("*.") {
            (rest, Self::OneLabel)
        } else if lower == "localhost" {
            return Ok(Self::Localhost);
        } else {
            (lower.as_str(), Self::Name)
        };
        if rest.split('.').all(is_label) && rest.len() <= 253 && !is_numeric(rest) {
            Ok(make(rest.to_owned()))
        } else {
            Err(PatternError {
                message: format!("`{text}` is not a host"),
                help: "write a name such as `api.example.com`, `*.example.com` for one label in front of it, `**.example.com` \
                       for any number, or an IP address; scheme, port and path have keys of their own"
                    .to_owned(),
            })
        }
    }

    /// Whether it covers this name, in lower case.
    #[must_use]
    pub fn covers_name(&self, name: &str) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Localhost => name == "localhost",
            Self::Name(wanted) => wanted == name,
            Self::OneLabel(suffix) => label_before(name, suffix).is_some_and(|front| !front.contains('.')),
            Self::Labels(suffix) => label_before(name, suffix).is_some(),
        }
    }

    /// Whether it covers this address.
    #[must_use]
    pub fn covers_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Address(wanted) if *wanted == address)
    }
}

/// What stands in front of `.suffix`, if anything does.
fn label_before<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    name.strip_suffix(suffix)?.strip_suffix('.').filter(|front| !front.is_empty())
}

fn is_label(label: &str) -> bool {
    // `_` occurs in names of container networks.
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether a URL parser would take it for an IPv4 address in one of its many spellings.
fn is_numeric(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Localhost => f.write_str("localhost"),
            Self::Name(name) => f.write_str(name),
            Self::OneLabel(suffix) => write!(f, "*.{suffix}"),
            Self::Labels(suffix) => write!(f, "**.{suffix}"),
        }
    }
}

/// `text` with everything that has a meaning in a pattern escaped. `globset::escape` leaves the backslash out, which has one
/// here.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

macro_rules! glob_pattern {
    ($(#[$doc:meta])* $name:ident, $separator:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            text: String,
            glob: GlobMatcher,
        }

        impl $name {
            fn compile(text: &str) -> Result<Self, PatternError> {
                let glob = GlobBuilder::new(text).literal_separator($separator).backslash_escape(true).build();
                match glob {
                    Ok(glob) => Ok(Self { text: text.to_owned(), glob: glob.compile_matcher() }),
                    Err(error) => Err(PatternError {
                        message: format!("`{text}` is not a pattern: {}", error.kind()),
                        help: "`*` and `?` are wild, `[`, `{` and `\\` have a meaning too: put a `\\` in front of one that \
                               is meant literally"
                            .to_owned(),
                    }),
                }
            }

            /// As written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}

glob_pattern!(
    /// The path of a URL: `*` stands for anything within a segment, `**` for any number of segments.
    PathPattern,
    true
);
glob_pattern!(
    /// Text such as an argument or an address: `*` stands for anything.
    TextPattern,
    false
);

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it does not begin with `/` or is malformed.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError {
                message: format!("the path `{text}` does not begin with `/`"),
                help: format!("write `/{text}`"),
            });
        }
        Self::compile(text)
    }

    /// The pattern that covers this very path, so that a denial never suggests more than was asked for.
    #[must_use]
    pub fn literal(path: &str) -> String {
        escaped(path)
    }

    /// Whether it covers this path, which must be normal: see `basb_capabilities::http::url`.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        // globset's trailing `**` wants at least one character, but `/v1/**` is meant to cover `/v1/` too.
        self.glob.is_match(path)
            || self.text.strip_suffix("**").is_some_and(|front| front.ends_with('/') && front == path)
    }
}

impl TextPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it is malformed.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::compile(text)
    }

    /// The pattern that covers this very text.
    #[must_use]
    pub fn literal(text: &str) -> String {
        escaped(text)
    }

    /// Whether it covers this text.
    #[must_use]
    pub fn covers(&self, text: &str) -> bool {
        self.glob.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_pattern_covers_what_it_shows_and_no_more() {
        let one = HostPattern::parse("*.Example.com").unwrap();
        assert!(one.covers_name("a.example.com"));
        for not in ["example.com", "a.b.example.com", "aexample.com", ".example.com", "a.example.com.evil.org"] {
            assert!(!one.covers_name(not), "{not}");
        }
        let many = HostPattern::parse("**.example.com").unwrap();
        assert!(many.covers_name("a.b.example.com") && !many.covers_name("example.com"));
        assert!(!many.covers_address("127.0.0.1".parse().unwrap()));
        assert_eq!(HostPattern::parse("[::1]").unwrap(), HostPattern::Address("::1".parse().unwrap()));
        for bad in
            ["", "*", "**", "a*.com", "http://a", "a:80", "a/b", "2130706433", "0x7f.1", "a..b", "127.1", "*.1", "a b"]
        {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_in_a_path_stays_in_its_segment() {
        let cases = [
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/v1/*", "/v1/a", true),
            ("/v1/*", "/v1/a/b", false),
            ("/v1/**", "/v1/a/b", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v1", false),
            ("/v1/**", "/v10/a", false),
            ("/a?c", "/a/c", false),
            ("/health", "/healthz", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(PathPattern::parse(pattern).unwrap().covers(path), expected, "{pattern} {path}");
        }
        assert!(PathPattern::parse("v1").is_err());
        assert!(PathPattern::parse("/[").is_err());
    }

    #[test]
    fn a_literal_covers_itself_only() {
        for text in ["a\\b", "a\\", "a[b]{c,d}?*!", "plain"] {
            let exact = TextPattern::parse(&TextPattern::literal(text)).unwrap();
            assert!(exact.covers(text) && !exact.covers("ab") && !exact.covers("a"), "{text}");
        }
    }

    #[test]
    fn an_argument_pattern_covers_slashes() {
        assert!(TextPattern::parse("-out=*").unwrap().covers("-out=/tmp/x"));
        assert!(!TextPattern::parse("-out=*").unwrap().covers("x-out=1"));
    }
}
