//! What is put into requests, and into which.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

mod common;

use basb_credentials::{Place, placeholder};
use common::*;
use serde_json::json;

fn ph(name: &str) -> String {
    placeholder::of(&basb_redact::SecretName::new(name).unwrap())
}

#[tokio::test]
async fn simple_credentials_set_their_headers() {
    let config = json!({
        "api": {"to": [{"host": "api.example.com"}], "bearer": "token"},
        "basic": {"to": [{"host": "basic.example.com"}], "basic": {"username": "Aladdin", "password": "pw"}},
        "key": {"to": [{"host": "**.example.com"}], "header": {"name": "X-Api-Key", "value": "token", "prefix": "Token "}},
        "sock": {"to": [{"socket": "agent"}], "bearer": "token"}
    });
    let keeper = Keeper::new(&[("token", "t-123"), ("pw", "open sesame")]);
    let credentials = credentials(&config, &keeper, &Network::none());
    let all = names(&["api", "basic", "key", "sock"]);

    let mut one = request(
        "GET",
        "https://api.example.com/v1",
        &[("authorization", "Bearer mine"), ("x-api-key", "mine"), ("x-api-key", "twice")],
        "",
    );
    let applied = credentials.apply(&all, &mut one, at(0)).await.unwrap();
    assert_eq!(applied.credentials, names(&["api", "key"]));
    assert!(applied.identity.is_none());
    assert_eq!(wire(&one), "GET https://api.example.com/v1\nauthorization: Bearer t-123\nx-api-key: Token t-123\n\n");

    // The example of RFC 7617 section 2.
    let mut two = get("https://basic.example.com/");
    credentials.apply(&names(&["basic"]), &mut two, at(0)).await.unwrap();
    assert_eq!(two.headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(keeper.has_learned("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));

    let mut three = get("http://agent.socket.internal/v1");
    three.place = Place::Socket("agent".to_owned());
    let applied = credentials.apply(&all, &mut three, at(0)).await.unwrap();
    assert_eq!(
        (applied.credentials, three.headers["authorization"].to_str().unwrap()),
        (names(&["sock"]), "Bearer t-123")
    );

    // Elsewhere the plugin's own headers stay, and no secret is read.
    keeper.reads.lock().unwrap().clear();
    for url in [
        "https://evil.org/",
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://api.example.com.evil.org/",
    ] {
        let mut other = request("GET", url, &[("authorization", "mine")], "");
        let applied = credentials.apply(&all, &mut other, at(0)).await.unwrap();
        assert!(applied.credentials.is_empty() && other.headers["authorization"] == "mine", "{url}");
    }
    let mut not_allowed = get("https://api.example.com/");
    credentials.apply(&[], &mut not_allowed, at(0)).await.unwrap();
    assert!(not_allowed.headers.is_empty());
    assert!(keeper.reads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_placeholder_goes_where_it_is_bound_and_nowhere_else() {
    let config = json!({
        "hook": {"to": [{"host": "hooks.example.com"}], "placeholder": "slack"},
        "other": {"to": [{"host": "other.example.com"}], "placeholder": "slack"}
    });
    let keeper = Keeper::new(&[("slack", "T0/B0/s3cret")]);
    let credentials = credentials(&config, &keeper, &Network::none());
    let allowed = names(&["hook"]);
    let mut good = request(
        "POST",
        &format!("https://hooks.example.com/services/{}?k={}", ph("slack"), ph("slack")),
        &[("content-type", "application/json"), ("x-secret", &ph("slack"))],
        &format!("{{\"a\":\"{}\"}}", ph("slack")),
    );
    let applied = credentials.apply(&allowed, &mut good, at(0)).await.unwrap();
    assert_eq!(applied.credentials, allowed);
    assert_eq!(
        wire(&good),
        "POST https://hooks.example.com/services/T0/B0/s3cret?k=T0%2FB0%2Fs3cret\ncontent-type: application/json\nx-secret: \
         T0/B0/s3cret\n\n{\"a\":\"T0/B0/s3cret\"}"
    );
    assert!(!format!("{good:?}").contains("s3cret"), "{good:?}");

    keeper.reads.lock().unwrap().clear();
    let p = ph("slack");
    for (allowed, bad) in [
        (&["hook"][..], request("GET", &format!("https://evil.org/{p}"), &[], "")),
        (&["hook"], request("GET", &format!("https://evil.org/?q={p}"), &[], "")),
        (&["hook"], request("GET", "https://evil.org/", &[("x", &p)], "")),
        (&["hook"], request("POST", "https://evil.org/", &[], &p)),
        (&["hook"], request("POST", "http://hooks.example.com/", &[], &p)),
        (&["hook"], request("POST", "https://hooks.example.com:8443/", &[], &p)),
        (&["hook"], request("POST", "https://hooks.example.com.evil.org/", &[], &p)),
        (&["hook"], request("POST", "https://other.example.com/", &[], &p)),
        (&["other"], request("POST", "https://hooks.example.com/", &[], &p)),
        (&[], request("POST", "https://hooks.example.com/", &[], &p)),
        (&["hook"], request("POST", "https://hooks.example.com/", &[], &format!("{p}{}", ph("unknown")))),
        (&["hook"], request("POST", "https://evil.org/", &[("authorization", &p)], "")),
    ] {
        let mut sent = bad.clone();
        let error = credentials.apply(&names(allowed), &mut sent, at(0)).await.unwrap_err();
        assert_eq!(error.code, "credential/not-bound", "{bad:?}");
        assert!(error.help.contains("credentials") || error.help.contains("`to`"), "{}", error.help);
        assert_eq!(wire(&sent), wire(&bad), "an error leaves the request as it was");
    }
    assert!(keeper.reads.lock().unwrap().is_empty(), "no secret is read for a request that is refused");
}

#[tokio::test]
async fn a_placeholder_in_a_header_that_a_credential_owns_is_removed_with_it() {
    let config = json!({"api": {"to": [{"host": "a.example"}], "bearer": "token"}});
    let credentials = credentials(&config, &Keeper::new(&[("token", "t")]), &Network::none());
    let mut sent = request("GET", "https://a.example/", &[("authorization", &ph("token"))], "");
    credentials.apply(&names(&["api"]), &mut sent, at(0)).await.unwrap();
    assert_eq!(sent.headers["authorization"], "Bearer t");
}

#[tokio::test]
async fn a_url_that_is_a_secret_is_resolved_for_its_destination_only() {
    let config = json!({
        "hook": {"to": [{"host": "hooks.example.com"}], "placeholder": "slack"},
        "elsewhere": {"to": [{"host": "other.example.com"}], "placeholder": "slack"},
        "api": {"to": [{"host": "hooks.example.com"}], "bearer": "slack"}
    });
    let real = "https://hooks.example.com/services/T0/B0/s3cret";
    let keeper = Keeper::new(&[("slack", real)]);
    let credentials = credentials(&config, &keeper, &Network::none());
    let url = credentials.resolve_url(&names(&["hook"]), &ph("slack")).await.unwrap().unwrap();
    assert_eq!(url.as_str(), real);
    // What a denial or an echo would show of it is known.
    assert!(keeper.has_learned("/services/T0/B0/s3cret") && keeper.has_learned("services/T0/B0/s3cret"));
    let mut sent = get(real);
    let applied = credentials.apply(&names(&["hook"]), &mut sent, at(0)).await.unwrap();
    assert_eq!(applied.credentials, names(&["hook"]), "its use is on record");
    let mut other = get("https://hooks.example.com/services/x");
    assert!(credentials.apply(&names(&["hook"]), &mut other, at(0)).await.unwrap().credentials.is_empty());

    for text in ["https://hooks.example.com/", "", "x", &format!("https://a.example/{}", ph("slack"))] {
        assert_eq!(credentials.resolve_url(&names(&["hook"]), text).await.unwrap(), None, "{text}");
    }
    let goes_on = format!("{}/more", ph("slack"));
    let error = credentials.resolve_url(&names(&["hook"]), &goes_on).await.unwrap_err();
    assert_eq!(error.code, "credential/placeholder-place");
    for allowed in [&[][..], &["elsewhere"], &["api"]] {
        let error = credentials.resolve_url(&names(allowed), &ph("slack")).await.unwrap_err();
        assert_eq!(error.code, "credential/not-bound", "{allowed:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hooks.example.com") && !text.contains("T0"), "{text}");
    }
}

#[tokio::test]
async fn a_secret_that_is_no_url_is_not_taken_for_one() {
    for value in [
        "s3cret",
        "https://hooks.example.com/s3cret\n",
        " https://hooks.example.com/s3cret",
        "https://hooks.example.com/\ts3cret",
        "https://s3cret@hooks.example.com/",
        "https://hooks.example.com/#s3cret",
        "ftp://hooks.example.com/s3cret",
        "file:///s3cret",
        "",
    ] {
        let config = json!({"hook": {"to": [{"host": "hooks.example.com"}], "placeholder": "slack"}});
        let credentials = credentials(&config, &Keeper::new(&[("slack", value)]), &Network::none());
        let error = credentials.resolve_url(&names(&["hook"]), &ph("slack")).await.unwrap_err();
        assert_eq!(error.code, "credential/value", "{value:?}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{value:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_handed_on() {
    let config = json!({"mtls": {"to": [{"host": "a.example"}], "mtls": {"certificate": "cert", "key": "key"}}});
    let keeper = Keeper::new(&[("cert", CERTIFICATE), ("key", KEY)]);
    let made = credentials(&config, &keeper, &Network::none());
    let applied = made.apply(&names(&["mtls"]), &mut get("https://a.example/"), at(0)).await.unwrap();
    let identity = applied.identity.clone().unwrap();
    assert_eq!((identity.credential, identity.key.expose()), (name("mtls"), KEY.as_bytes()));
    assert!(!format!("{applied:?}").contains("PRIVATE KEY"));
    for (cert, key, code) in
        [("x", KEY, "credential/key"), (CERTIFICATE, "x", "credential/key"), ("", "", "credential/key")]
    {
        let made = credentials(&config, &Keeper::new(&[("cert", cert), ("key", key)]), &Network::none());
        let error = made.apply(&names(&["mtls"]), &mut get("https://a.example/"), at(0)).await.unwrap_err();
        assert_eq!(error.code, code);
    }
}

#[tokio::test]
async fn an_authority_is_handed_on() {
    let config = json!({"cluster": {"to": [{"host": "a.example"}], "authority": "ca"}});
    let made = credentials(&config, &Keeper::new(&[("ca", CERTIFICATE)]), &Network::none());
    let applied = made.apply(&names(&["cluster"]), &mut get("https://a.example/"), at(0)).await.unwrap();
    let authority = applied.authority.unwrap();
    assert_eq!((authority.credential, authority.certificates.expose()), (name("cluster"), CERTIFICATE.as_bytes()));
    assert_eq!(applied.credentials, names(&["cluster"]));
    for bad in ["", "x", KEY] {
        let made = credentials(&config, &Keeper::new(&[("ca", bad)]), &Network::none());
        let error = made.apply(&names(&["cluster"]), &mut get("https://a.example/"), at(0)).await.unwrap_err();
        assert_eq!(error.code, "credential/key", "{bad}");
    }
}

#[tokio::test]
async fn aws_requests_are_signed_over_everything_else() {
    let keys = json!({"accessKeyId": "id", "secretAccessKey": "key", "sessionToken": "token"});
    let config = json!({
        "aws": {"to": [{"host": "**.amazonaws.com"}], "awsSigv4": keys},
        "hook": {"to": [{"host": "**.amazonaws.com"}], "placeholder": "pw"},
        "local": {"to": [{"host": "127.0.0.1", "scheme": "http", "port": 5555}], "awsSigv4": {
            "accessKeyId": "id", "secretAccessKey": "key", "region": "eu-west-1", "service": "ecs"}}
    });
    let keeper = Keeper::new(&[("id", "AKIAIOSFODNN7EXAMPLE"), ("key", "sEcReT"), ("token", "tOkEn"), ("pw", "pa55")]);
    let credentials = credentials(&config, &keeper, &Network::none());
    let all = names(&["aws", "hook", "local"]);
    let mut sent = request(
        "POST",
        "https://ecs.eu-west-1.amazonaws.com/",
        &[
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "A.B"),
            ("authorization", "mine"),
            ("x-amz-security-token", "mine"),
        ],
        &format!("{{\"p\":\"{}\"}}", ph("pw")),
    );
    let applied = credentials.apply(&all, &mut sent, at(0)).await.unwrap();
    assert_eq!(applied.credentials, names(&["hook", "aws"]));
    let text = wire(&sent);
    assert!(text.contains("Credential=AKIAIOSFODNN7EXAMPLE/20231114/eu-west-1/ecs/aws4_request"), "{text}");
    assert!(text.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"), "{text}");
    assert!(
        text.contains("x-amz-security-token: tOkEn") && text.ends_with("{\"p\":\"pa55\"}") && !text.contains("mine")
    );
    assert!(!text.contains("sEcReT"));

    let mut local = get("http://127.0.0.1:5555/");
    credentials.apply(&all, &mut local, at(0)).await.unwrap();
    assert!(wire(&local).contains("/eu-west-1/ecs/aws4_request"));

    let mut unknown = get("https://my-lb.elb.amazonaws.com/");
    let error = credentials.apply(&all, &mut unknown, at(0)).await.unwrap_err();
    assert_eq!(error.code, "credential/region");
    assert!(error.help.contains("region: eu-west-1") && error.help.contains("service: ecs"));
}

#[tokio::test]
async fn readiness_hears_of_everything_that_is_missing() {
    let config = json!({
        "a": {"to": [{"host": "a.example"}], "bearer": "missing"},
        "b": {"to": [{"host": "a.example"}], "bearer": "line"},
        "c": {"to": [{"host": "a.example"}], "gcpServiceAccount": {"key": "nokey", "scopes": ["s"]}},
        "d": {"to": [{"host": "a.example"}], "mtls": {"certificate": "good", "key": "missing"}},
        "e": {"to": [{"host": "a.example"}], "placeholder": "good"},
        "f": {"to": [{"host": "**.amazonaws.com"}], "awsSigv4": {"accessKeyId": "good", "secretAccessKey": "line"}},
        "g": {"to": [{"host": "a.example"}], "gcpMetadata": {}}
    });
    let keeper = Keeper::new(&[("line", "canary\n"), ("nokey", "{\"type\":\"canary\"}"), ("good", "canary")]);
    let network = Network::none();
    let credentials = credentials(&config, &keeper, &network);
    let errors = credentials.check(&names(&["a", "b", "c", "d", "e", "f", "g", "nope"])).await.unwrap_err();
    let codes: Vec<_> = errors.iter().map(|error| error.code).collect();
    assert_eq!(
        codes,
        ["secret/missing", "credential/value", "credential/key", "credential/value", "credential/unknown"],
        "the same one is said once: {errors:?}"
    );
    assert!(!format!("{errors:?}").contains("canary"));
    assert!(credentials.check(&names(&["e", "g"])).await.is_ok());
    assert_eq!(network.count(), 0);
}
