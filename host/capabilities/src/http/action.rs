//! The AWS action of a request: what its path does not tell.
//!
//! Stops a plugin from being granted one action and asking for another: services of AWS look for the action in a header
//! (`X-Amz-Target`, the JSON protocols) or in a parameter (`Action`, the query protocols), and a request that names it
//! twice, in two ways, in a spelling that one reader decodes and another does not, or beside a path that says something
//! else, is read differently by the host and by the service. Such a request has no action that a grant could cover.
//!
//! Protocols: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html> and
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>.

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ::http::{HeaderMap, Method};
use ::url::Url;

/// The AWS action of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It names none.
    None,
    /// The value of `X-Amz-Target`, such as `AmazonEC2ContainerServiceV20141113.DescribeServices`, or of `Action`, such as
    /// `DescribeStacks`.
    Named(String),
    /// It names one, but two readers could take it for different ones; why.
    Unclear(&'static str),
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: [&str; 2] = ["application/x-amz-json-1.0", "application/x-amz-json-1.1"];

impl Action {
    /// The action of a request.
    #[must_use]
    pub fn of(method: &Method, url: &Url, headers: &HeaderMap, body: &[u8]) -> Self {
        find(method, url, headers, body).unwrap_or_else(Self::Unclear)
    }
}

fn find(method: &Method, url: &Url, headers: &HeaderMap, body: &[u8]) -> Result<Action, &'static str> {
    let mut targets = headers.get_all("x-amz-target").iter();
    let target = targets.next();
    let kind = content_type(headers);
    let in_query = url.query().map_or(Ok(None), parameter)?;
    let is_form = matches!(&kind, Ok(Some(kind)) if kind == FORM);
    let in_body = match (is_form, std::str::from_utf8(body)) {
        (true, Ok(text)) => parameter(text)?,
        (true, Err(_)) => return Err("its form is not UTF-8"),
        (false, _) => None,
    };
    if target.is_none() && in_query.is_none() && in_body.is_none() {
        return Ok(Action::None);
    }
    let kind = kind?;
    if url.path() != "/" {
        return Err("an action is told for requests to the path `/` only: elsewhere the service may go by the path");
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err("its body is compressed");
    }
    if headers.contains_key("smithy-protocol") {
        return Err("it names a protocol that tells the action by the path");
    }
    let named = match (target, in_query, in_body) {
        (Some(target), None, None) => {
            if targets.next().is_some() {
                return Err("it has the header `X-Amz-Target` twice");
            }
            if *method != Method::POST || !kind.is_some_and(|kind| JSON.contains(&kind.as_str())) {
                return Err("a request with `X-Amz-Target` is a POST with the content type \
                            `application/x-amz-json-1.0` or `application/x-amz-json-1.1`");
            }
            std::str::from_utf8(target.as_bytes()).unwrap_or_default()
        }
        (None, Some(value), None) => {
            if !body.is_empty() && !is_form {
                return Err("its query names an action and its body is not a form");
            }
            value
        }
        (None, None, Some(value)) if *method == Method::POST => value,
        (None, None, Some(_)) => return Err("a form is sent with POST"),
        _ => return Err("it names an action in more than one place"),
    };
    let token = !named.is_empty()
        && named.len() <= 200
        && named.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if token { Ok(Action::Named(named.to_owned())) } else { Err("its action is not a plain word") }
}

/// The media type of the body in lower case. A parameter other than `charset=utf-8` could change how it is read.
fn content_type(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err("it has the header `Content-Type` twice");
    }
    let text = first.to_str().map_err(|_| "its content type is not ASCII")?.to_ascii_lowercase();
    let (kind, parameters) = text.split_once(';').unwrap_or((&text, ""));
    if matches!(parameters.trim(), "" | "charset=utf-8" | "charset=\"utf-8\"") && !kind.contains(',') {
        Ok(Some(kind.trim().to_owned()))
    } else {
        Err("its content type has parameters")
    }
}

/// The parameter `Action` of a form or a query.
fn parameter(text: &str) -> Result<Option<&str>, &'static str> {
    let mut found = None;
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'%' | b'+' | b';')) {
            return Err("the name of one of its parameters is encoded");
        }
        if value.contains(';') {
            return Err("one of its parameters holds a `;`, which some readers take for `&`");
        }
        if name.eq_ignore_ascii_case("x-amz-target") {
            return Err("`X-Amz-Target` is a header, not a parameter");
        }
        if name.eq_ignore_ascii_case("action") {
            if name != "Action" {
                return Err("the parameter `Action` is spelled differently");
            }
            if found.replace(value).is_some() {
                return Err("it has the parameter `Action` twice");
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn of(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Action {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Action::of(&method, &Url::parse(url).unwrap(), &map, body.as_bytes())
    }

    const ECS: &str = "https://ecs.eu-central-1.amazonaws.com/";
    const TARGET: (&str, &str) = ("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.DescribeServices");
    const JSON11: (&str, &str) = ("Content-Type", "application/x-amz-json-1.1");
    const AS_FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8");

    fn named(name: &str) -> Action {
        Action::Named(name.to_owned())
    }

    #[test]
    fn the_action_is_found_where_the_protocols_put_it() {
        assert_eq!(of(Method::POST, ECS, &[TARGET, JSON11], "{}"), named(TARGET.1));
        let body = "Action=DescribeStacks&Version=2010-05-15";
        assert_eq!(of(Method::POST, ECS, &[AS_FORM], body), named("DescribeStacks"));
        assert_eq!(of(Method::GET, &format!("{ECS}?Action=GetUser"), &[], ""), named("GetUser"));
        assert_eq!(of(Method::GET, "https://a.example/x?y=z", &[], ""), Action::None);
        assert_eq!(of(Method::POST, "https://a.example/", &[JSON11], "{}"), Action::None);
        // What is no form is not searched, and then there is no action that a grant could cover.
        assert_eq!(of(Method::POST, ECS, &[], body), Action::None);
        assert_eq!(of(Method::POST, ECS, &[("Content-Type", "text/plain")], body), Action::None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_action() {
        let other = ("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.DeleteService");
        #[expect(clippy::type_complexity, reason = "a table")]
        let cases: [(&str, &[(&str, &str)], &str); 22] = [
            ("", &[TARGET, other, JSON11], "{}"),
            ("", &[TARGET, AS_FORM], "Action=DeleteStack"),
            ("", &[TARGET, AS_FORM], ""),
            ("", &[TARGET], "{}"),
            ("", &[TARGET, JSON11, AS_FORM], "{}"),
            ("", &[TARGET, JSON11, ("Content-Encoding", "gzip")], "x"),
            ("", &[TARGET, JSON11, ("Smithy-Protocol", "rpc-v2-cbor")], "{}"),
            ("?Action=DeleteService", &[TARGET, JSON11], "{}"),
            ("?X-Amz-Target=X.Delete", &[TARGET, JSON11], "{}"),
            ("2015-03-31/functions/x", &[TARGET, JSON11], "{}"),
            ("?Action=DescribeStacks", &[AS_FORM], "Action=DeleteStack"),
            ("?Action=DescribeStacks", &[("Content-Type", "text/plain")], "Action=DeleteStack"),
            ("?Action=DescribeStacks", &[], "Action=DeleteStack"),
            ("?Action=DescribeStacks&Action=DeleteStack", &[], ""),
            ("", &[AS_FORM], "Action=DescribeStacks&Action=DeleteStack"),
            ("", &[AS_FORM], "Action=DescribeStacks&%41ction=DeleteStack"),
            ("", &[AS_FORM], "Action=DescribeStacks&action=DeleteStack"),
            ("", &[AS_FORM], "Action=DescribeStacks&x=1;Action=DeleteStack"),
            ("", &[AS_FORM], "Action=Describe%53tacks"),
            ("", &[AS_FORM], "Action="),
            ("", &[AS_FORM], "Action=DescribeStacks&\u{0}Action=DeleteStack"),
            ("", &[("Content-Type", "application/x-www-form-urlencoded; charset=utf-16")], "Action=DescribeStacks"),
        ];
        for (query, headers, body) in cases {
            let found = of(Method::POST, &format!("{ECS}{query}"), headers, body);
            let fine = headers == [("Content-Type", "application/x-www-form-urlencoded; charset=utf-16")];
            assert!(
                matches!(found, Action::Unclear(_)) || (fine && found == Action::None),
                "{query} {headers:?} {body:?}: {found:?}"
            );
        }
        assert!(matches!(of(Method::GET, ECS, &[TARGET, JSON11], ""), Action::Unclear(_)));
        assert!(matches!(of(Method::PUT, ECS, &[AS_FORM], "Action=GetUser"), Action::Unclear(_)));
    }

    proptest! {
        /// However a form is put together: what is found is what every reader of forms finds first and last.
        #[test]
        fn two_readers_agree(pairs in prop::collection::vec(("(Action|action|%41ction|Name|)", "[A-Za-z%;+.=]{0,6}"), 0..5)) {
            let body = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
            if let Action::Named(name) = of(Method::POST, ECS, &[AS_FORM], &body) {
                let read: Vec<_> = ::url::form_urlencoded::parse(body.as_bytes())
                    .filter(|(key, _)| key.eq_ignore_ascii_case("action"))
                    .map(|(_, value)| value.into_owned())
                    .collect();
                prop_assert_eq!(read, [name]);
            }
        }
    }
}
