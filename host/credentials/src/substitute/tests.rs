#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]
use super::*;
use crate::Place;
use http::{HeaderName, Method};
use proptest::prelude::*;

const X: &str = "__basb.secret.x__";

fn request(url: &str, headers: &[(&str, &str)], body: &str) -> Outgoing {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Outgoing {
        method: Method::POST,
        url: Url::parse(url).unwrap(),
        headers: map,
        body: Bytes::from(body.to_owned()),
        place: Place::Network,
    }
}

fn with(value: impl Into<Vec<u8>>) -> Values {
    Values::from([(SecretName::new("x").unwrap(), SecretValue::new(value.into()))])
}

fn path(template: &str, value: impl Into<Vec<u8>>) -> Result<String, &'static str> {
    let mut request = request(&format!("https://a.example{template}"), &[], "");
    substitute(&mut request, &with(value)).map_err(|error| error.code)?;
    Ok(request.url.path().to_owned())
}

#[test]
fn a_path_keeps_its_shape() {
    assert_eq!(path(&format!("/bot{X}/send"), "123:ABC-d_e").unwrap(), "/bot123:ABC-d_e/send");
    assert_eq!(path(&format!("/{X}/send"), "a b%41é").unwrap(), "/a%20b%2541%C3%A9/send");
    assert_eq!(path(&format!("/services/{X}"), "T0/B0/xyz").unwrap(), "/services/T0/B0/xyz");
    assert_eq!(path(&format!("/{X}/{X}"), "v").unwrap(), "/v/v");
    for (template, value) in [
        ("/{X}/send", "a/b"),
        ("/bot{X}", "a/b"),
        ("/{X}", "../admin"),
        ("/{X}", "a/../b"),
        ("/{X}", ".."),
        ("/{X}", "."),
        ("/{X}", "/a"),
        ("/{X}", "a//b"),
        ("/{X}", "a?b=c"),
        ("/{X}", "a#b"),
        ("/{X}", "a\\..\\b"),
        ("/{X}", "a\nb"),
        ("/{X}", "a\0b"),
        ("/{X}", "a\tb"),
        ("/{X}", ""),
    ] {
        assert_eq!(path(&template.replace("{X}", X), value), Err("credential/value"), "{template} {value:?}");
    }
    // What only together with its surroundings is a step upwards.
    assert_eq!(path(&format!("/a/.{X}/b"), "."), Err("credential/value"));
    assert_eq!(path(&format!("/a/{X}.;x/b"), ".;"), Err("credential/destination"));
    // An encoded step is encoded once more, so it stays text.
    assert_eq!(path(&format!("/a/{X}"), "%2e%2e").unwrap(), "/a/%252e%252e");
}

#[test]
fn a_query_component_stays_one() {
    let mut request = request(&format!("https://a.example/p?k={X}&l=1"), &[], "");
    substitute(&mut request, &with("a&b=c#d +%\u{e9}\n")).unwrap();
    assert_eq!(request.url.as_str(), "https://a.example/p?k=a%26b%3Dc%23d%20%2B%25%C3%A9%0A&l=1");
    assert_eq!(request.url.query_pairs().next().unwrap().1, "a&b=c#d +%\u{e9}\n");
}

#[test]
fn a_header_stays_one() {
    let token = format!("Token {X}");
    let headers = [("x-token", token.as_str()), ("x-other", "1"), ("x-token", "two")];
    let mut good = request("https://a.example/", &headers, "");
    substitute(&mut good, &with("s3cret")).unwrap();
    let values: Vec<_> = good.headers.get_all("x-token").iter().collect();
    assert_eq!(values, ["Token s3cret", "two"]);
    assert!(values[0].is_sensitive() && !format!("{:?}", good.headers).contains("s3cret"));
    for value in ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "\u{7f}", ""] {
        let mut bad = request("https://a.example/", &headers, "");
        let error = substitute(&mut bad, &with(value)).unwrap_err();
        assert_eq!(error.code, "credential/value", "{value:?}");
        assert_eq!(bad.headers.get("x-token").unwrap(), &token, "an error leaves the request as it was");
    }
}

fn body(kind: Option<&str>, body: &str, value: impl Into<Vec<u8>>) -> Result<Vec<u8>, &'static str> {
    let headers: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
    let mut request = request("https://a.example/", &headers, body);
    substitute(&mut request, &with(value)).map_err(|error| error.code)?;
    Ok(request.body.to_vec())
}

#[test]
fn a_body_keeps_its_form() {
    let json = format!("{{\"a\":\"{X}\"}}");
    let value = "q\"}, \"admin\": true, {\"\\\n\u{e9}";
    for kind in [
        "application/json",
        "application/JSON; charset=utf-8",
        "application/vnd.api+json",
        "application/x-amz-json-1.1",
    ] {
        let out = body(Some(kind), &json, value).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, serde_json::json!({ "a": value }), "{kind}");
    }
    assert_eq!(body(None, &json, "a\"b").unwrap(), br#"{"a":"a\"b"}"#);
    assert_eq!(
        body(Some("application/x-ndjson"), &format!("{json}\n{json}"), "a\"").unwrap(),
        b"{\"a\":\"a\\\"\"}\n{\"a\":\"a\\\"\"}"
    );
    assert_eq!(body(Some("application/json"), &format!("{{\"a\":{X}}}"), "1"), Err("credential/body"));
    assert_eq!(body(Some("application/json"), &json, b"\xff".to_vec()), Err("credential/value"));
    let form = body(Some("application/x-www-form-urlencoded"), &format!("k={X}&l=1"), "a&b=c d%").unwrap();
    assert_eq!(form, b"k=a%26b%3Dc+d%25&l=1");
    assert_eq!(body(Some("text/plain"), &format!("<{X}>"), b"\xff\n&\"".to_vec()).unwrap(), b"<\xff\n&\">");
    assert_eq!(body(None, &format!("<{X}>"), "a&\"").unwrap(), b"<a&\">");
}

#[test]
fn what_a_secret_holds_is_not_replaced_again() {
    let mut values = with("__basb.secret.y__");
    values.insert(SecretName::new("y").unwrap(), SecretValue::new("inner"));
    let mut request = request("https://a.example/", &[], X);
    substitute(&mut request, &values).unwrap();
    assert_eq!(request.body, "__basb.secret.y__");
}

#[test]
fn a_placeholder_has_its_places() {
    let get = |url: &str, headers: &[(&str, &str)], body: &str| {
        wanted(&request(url, headers, body)).map(|set| set.into_iter().map(String::from).collect::<Vec<_>>())
    };
    let a = "https://a.example";
    let found =
        get(&format!("{a}/__basb.secret.p__?q=__basb.secret.q__"), &[("x", "__basb.secret.h__")], "__basb.secret.b__");
    assert_eq!(found.unwrap(), ["b", "h", "p", "q"]);
    for (url, headers, body, code) in [
        (format!("https://{X}/"), vec![], "", "credential/placeholder-place"),
        (format!("https://{}.evil.org/", X.to_uppercase()), vec![], "", "credential/placeholder-place"),
        ("https://%5F_basb.secret.x__.evil.org/".to_owned(), vec![], "", "credential/placeholder-place"),
        (format!("https://{X}@evil.org/"), vec![], "", "credential/placeholder-place"),
        (format!("https://a:{X}@evil.org/"), vec![], "", "credential/placeholder-place"),
        ("https://%5F_basb.secret.x__@evil.org/".to_owned(), vec![], "", "credential/placeholder-place"),
        (format!("{a}/#{X}"), vec![], "", "credential/placeholder-place"),
        (format!("{a}/"), vec![(X, "1")], "", "credential/placeholder-place"),
        (format!("{a}/%5F_basb.secret.x__"), vec![], "", "credential/placeholder-disguised"),
        (format!("{a}/?a=__basb%2esecret.x__"), vec![], "", "credential/placeholder-disguised"),
        (format!("{a}/"), vec![("x", "%5f%5fbasb.secret.x__")], "", "credential/placeholder-disguised"),
        (format!("{a}/"), vec![], "{\"a\":\"\\u005f_basb.secret.x__\"}", "credential/placeholder-disguised"),
        (format!("{a}/"), vec![], "a=%5F_basb.secret.x__", "credential/placeholder-disguised"),
    ] {
        assert_eq!(get(&url, &headers, body).unwrap_err().code, code, "{url} {headers:?} {body}");
    }
    let mut odd = request(&format!("{a}/"), &[], "");
    odd.method = Method::from_bytes(X.to_uppercase().as_bytes()).unwrap();
    assert_eq!(wanted(&odd).unwrap_err().code, "credential/placeholder-place");
}

#[test]
fn an_error_tells_nothing_of_a_value() {
    let canary = "canary-7f3a";
    for (url, headers, body) in [
        (format!("https://a.example/{X}/b"), vec![], ""),
        ("https://a.example/".to_owned(), vec![("x", X)], ""),
        ("https://a.example/".to_owned(), vec![("content-type", "application/json")], "{\"a\":__basb.secret.x__}"),
    ] {
        for value in [format!("{canary}/../?#\r\n"), format!("\0{canary}")] {
            let error = substitute(&mut request(&url, &headers, body), &with(value)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}

proptest! {
    /// Whatever a secret holds, the request still goes to the same place, with the same segments, components and headers.
    #[test]
    fn a_secret_never_changes_what_a_request_is(value in prop::collection::vec(any::<u8>(), 0..24), hard in "[./%?#\\\\;:@a-c&=+]{0,12}", which in any::<bool>()) {
        let value = if which { value } else { hard.into_bytes() };
        let template = format!("https://a.example:8443/v1/{X}/end?k={X}&l=1");
        let mut new = request(&template, &[("content-type", "application/json")], &format!("{{\"a\":\"{X}\",\"b\":1}}"));
        if substitute(&mut new, &with(value.clone())).is_ok() {
            prop_assert_eq!(&new.url[..Position::BeforePath], "https://a.example:8443");
            let segments: Vec<_> = new.url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            prop_assert_eq!((segments[0], segments[2]), ("v1", "end"));
            let decoded: Vec<u8> = percent_decode(segments[1].as_bytes()).collect();
            prop_assert_eq!(&decoded, &value);
            prop_assert_eq!(new.url.query_pairs().count(), 2);
            prop_assert!(new.url.fragment().is_none());
            let read: serde_json::Value = serde_json::from_slice(&new.body).unwrap();
            prop_assert_eq!(read["a"].as_str().unwrap().as_bytes(), &value[..]);
            prop_assert_eq!(read.as_object().unwrap().len(), 2);
            // What was sent is what was made: parsing it again changes nothing.
            let again = Url::parse(new.url.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), new.url.as_str());
        }
    }

    #[test]
    fn nothing_makes_it_stumble(path in "[ -~]{0,40}", body in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(url) = Url::parse(&format!("https://a.example/{path}")) {
            let mut new = request("https://a.example/", &[], "");
            new.url = url;
            new.body = Bytes::from(body);
            if wanted(&new).is_ok() {
                let _ = substitute(&mut new, &with("v"));
            }
        }
    }
}

use url::Position;
