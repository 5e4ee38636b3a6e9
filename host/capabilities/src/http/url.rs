//! A URL as a plugin names it, taken apart in one way only.
//!
//! Stops a plugin from naming one path and reaching another: `..` and `.`, doubled slashes, backslashes, and encoded
//! forms of them, are read differently by different servers and proxies. They are refused, not normalised, so what is
//! compared with the grant is what goes out. User information is refused too: `https://api.example.com@evil.org/` looks
//! like the first and goes to the second.

use crate::network::{Place, plain_name};
use url::{Host, Url};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The URL, without a fragment.
    pub url: Url,
    /// Host and port.
    pub place: Place,
}

impl Destination {
    /// Scheme, host, port and path: without the query, which may hold secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.to_string()
    }
}

/// Takes a URL apart.
///
/// # Errors
/// A sentence that says why it is refused.
pub fn parse(text: &str) -> Result<Destination, String> {
    let shown = || crate::printable(text, 200);
    // `url` drops tabs and line ends without a word; what is dropped may be what a reader relied on.
    if text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return Err(format!("the URL `{}` contains a space or a control character", shown()));
    }
    let mut url = Url::parse(text).map_err(|error| format!("`{}` is not an absolute URL: {error}", shown()))?;
    // `url` takes `http:host` and `http:/host` for `http://host`, as browsers do; what is checked below is the text.
    if !text.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(url.scheme())) {
        return Err(format!("`{}` is not an absolute URL: `://` is missing behind its scheme", shown()));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme of `{}` is neither http nor https", shown()));
    }
    if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        return Err("the URL contains user information; credentials are the host's business".to_owned());
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => Host::Domain(plain_name(name)?),
        Some(host) => host.to_owned(),
        None => return Err(format!("`{}` has no host", shown())),
    };
    let port = url.port_or_known_default().filter(|port| *port != 0).ok_or_else(|| "0 is not a port".to_owned())?;
    check_path(raw_path(text)).map_err(|why| format!("the path of `{}` contains {why}", shown()))?;
    url.set_fragment(None);
    Ok(Destination { place: Place { host, port }, url })
}

/// What is refused of the host of a URL whoever wrote it.
pub(super) fn check_host(url: &Url) -> Result<(), String> {
    match url.host() {
        Some(Host::Domain(name)) => plain_name(name).map(|_| ()),
        Some(_) => Ok(()),
        None => Err("the URL has no host".to_owned()),
    }
}

/// What stands between the scheme and the path, as written.
fn authority(text: &str) -> &str {
    let rest = after_scheme(text);
    rest.split(['/', '?', '#', '\\']).next().unwrap_or_default()
}

/// The path as written, before any parser has put it right.
fn raw_path(text: &str) -> &str {
    let rest = after_scheme(text);
    let start = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let path = rest.get(start..).unwrap_or_default();
    path.split(['?', '#']).next().unwrap_or_default()
}

fn after_scheme(text: &str) -> &str {
    text.split_once("://").map_or(text, |(_, rest)| rest)
}

/// What is refused in a path.
fn check_path(path: &str) -> Result<(), &'static str> {
    let lower = path.to_ascii_lowercase();
    if lower.contains('\\') || lower.contains("%5c") {
        Err("a backslash")
    } else if lower.contains("%2f") {
        Err("an encoded slash")
    } else if lower.contains("%2e") {
        Err("an encoded dot")
    } else if lower.contains("%25") {
        Err("an encoded percent sign, which some servers decode twice")
    } else if path.split('%').skip(1).any(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() < 2) {
        // `%u002e` is a dot to some servers.
        Err("a percent sign without two hexadecimal digits")
    } else if percent_encoding::percent_decode_str(path).decode_utf8().is_err() {
        // `%c0%ae` is a dot to decoders that take overlong UTF-8.
        Err("encoded bytes that are no UTF-8")
    } else if lower.contains("%00") {
        Err("an encoded zero byte")
    } else if lower.contains("//") {
        Err("a doubled slash")
    } else if path.split('/').any(|segment| segment == "." || segment == "..") {
        Err("a `.` or `..` segment")
    } else {
        // `;` parameters let `/..;/` slip by some servers.
        if path.split('/').any(|segment| segment.starts_with("..;") || segment.starts_with(".;")) {
            return Err("a `..;` segment");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_has_one_reading() {
        let good = parse("https://API.Example.com/v1/a%20b?x=../..#frag").unwrap();
        assert_eq!(good.url.as_str(), "https://api.example.com/v1/a%20b?x=../..");
        assert_eq!(good.shown(), "https://api.example.com/v1/a%20b");
        assert_eq!(good.place.port, 443);
        assert_eq!(parse("http://2130706433/").unwrap().place.host, Host::<String>::Ipv4([127, 0, 0, 1].into()));
        assert_eq!(parse("http://a.example").unwrap().url.path(), "/");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bad in [
            "http://a.example/../b",
            "http://a.example/v1/..",
            "http://a.example/./b",
            "http://a.example/%2e%2e/b",
            "http://a.example/.%2E/b",
            "http://a.example/v1%2fb",
            "http://a.example/v1%5Cb",
            "http://a.example/v1\\..\\b",
            "http://a.example\\b",
            "http://a.example//b",
            "http://a.example/%252e%252e/b",
            "http://a.example/..;/b",
            "http://a.example/%00",
            "http://user@a.example/",
            "http://user:pass@a.example/",
            "http://@a.example/",
            "http://a.example@evil.example/",
            "http://a.example./",
            "http://a.example:0/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "/relative",
            "http://",
            "http:/a.example/",
            "http:a.example/../b",
            "http://a.example/\tb",
            "http://a.exam\nple/",
            "http://a.example/a b",
        ] {
            let got = parse(bad);
            let fine = bad == "http:/a.example/" && got.as_ref().is_ok_and(|d| d.url.as_str() == "http://a.example/");
            assert!(got.is_err() || fine, "{bad}: {got:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_compared_is_what_goes_out(path in "[/a-z.%0-9;\\\\]{0,20}") {
            if let Ok(destination) = parse(&format!("http://a.example/{path}")) {
                // The parser had nothing to put right: the path is the one that was written.
                prop_assert_eq!(destination.url.path(), format!("/{path}"));
            }
        }
    }
}
