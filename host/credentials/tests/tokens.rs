//! Tokens and temporary keys: had once, kept, taught to the redactor; and what is said when they are refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

mod common;

use basb_secrets::TransportError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn gcp() -> Value {
    json!({"gcp": {"to": [{"host": "**.googleapis.com"}], "gcpServiceAccount": {"key": "gcp-json", "scopes": ["a", "b"]}}})
}

fn token_network() -> Arc<Network> {
    let count = AtomicU32::new(0);
    Network::new(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answer =
            answer(200, format!(r#"{{"access_token":"tok-{n}","expires_in":3600,"token_type":"Bearer"}}"#));
        answer.headers.insert("metadata-flavor", "Google".parse().unwrap());
        Ok(answer)
    })
}

#[tokio::test]
async fn a_service_account_signs_an_assertion() {
    let keeper = Keeper::new(&[("gcp-json", &key_file(Some("https://oauth2.googleapis.com/token")))]);
    let network = token_network();
    let credentials = credentials(&gcp(), &keeper, &network);
    let mut sent = get("https://run.googleapis.com/v2/x");
    let applied = credentials.apply(&names(&["gcp"]), &mut sent, at(0)).await.unwrap();
    assert_eq!(applied.credentials, names(&["gcp"]));
    assert_eq!(sent.headers["authorization"], "Bearer tok-1");
    let asked = network.asked.lock().unwrap();
    let ask = &asked[0];
    assert_eq!((ask.method.as_str(), ask.url.as_str()), ("POST", "https://oauth2.googleapis.com/token"));
    let form: Vec<_> = url::form_urlencoded::parse(&ask.body).into_owned().collect();
    assert_eq!(form[0], ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
    assert!(keeper.has_learned(&form[1].1) && keeper.has_learned("tok-1"));

    let parts: Vec<_> = form[1].1.split('.').collect();
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(json(parts[0]), json!({"alg": "RS256", "typ": "JWT", "kid": "kid-1"}));
    assert_eq!(
        json(parts[1]),
        json!({"iss": "deploy@p.iam.gserviceaccount.com", "scope": "a b", "aud": "https://oauth2.googleapis.com/token",
               "iat": 1_700_000_000, "exp": 1_700_003_600})
    );
    let public = include_bytes!("vectors/test-public-key.pem");
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(public).unwrap();
    // ring wants the key without the 24 bytes that say that it is RSA.
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki.as_ref()[24..]);
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    key.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn a_token_is_kept_until_five_minutes_before_its_end() {
    let keeper = Keeper::new(&[("gcp-json", &key_file(None))]);
    let network = token_network();
    let credentials = credentials(&gcp(), &keeper, &network);
    let mut seen = Vec::new();
    for seconds in [0, 10, 3299, 3300, 3301] {
        let mut sent = get("https://run.googleapis.com/");
        credentials.clone().apply(&names(&["gcp"]), &mut sent, at(seconds)).await.unwrap();
        seen.push(sent.headers["authorization"].to_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["Bearer tok-1", "Bearer tok-1", "Bearer tok-1", "Bearer tok-2", "Bearer tok-2"]);
    credentials.forget(&names(&["gcp"])).await;
    let mut sent = get("https://run.googleapis.com/");
    credentials.apply(&names(&["gcp"]), &mut sent, at(3302)).await.unwrap();
    assert_eq!(sent.headers["authorization"], "Bearer tok-3");
}

#[tokio::test]
async fn many_requests_at_once_ask_once() {
    let keeper = Keeper::new(&[("gcp-json", &key_file(None))]);
    let network = token_network();
    let credentials = credentials(&gcp(), &keeper, &network);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let credentials = credentials.clone();
            tokio::spawn(async move {
                credentials.apply(&names(&["gcp"]), &mut get("https://run.googleapis.com/"), at(0)).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(network.count(), 1);
}

#[tokio::test]
async fn a_key_file_does_not_decide_where_its_assertion_goes() {
    for uri in
        ["https://evil.org/token", "http://oauth2.googleapis.com/token", "https://oauth2.googleapis.com.evil.org/token"]
    {
        let network = token_network();
        let credentials = credentials(&gcp(), &Keeper::new(&[("gcp-json", &key_file(Some(uri)))]), &network);
        let error =
            credentials.apply(&names(&["gcp"]), &mut get("https://run.googleapis.com/"), at(0)).await.unwrap_err();
        assert_eq!((error.code, network.count()), ("credential/key", 0));
        assert!(error.help.contains("tokenUrl"), "{error}");
    }
}

#[tokio::test]
async fn the_metadata_server_is_asked_as_documented() {
    let config = json!({"meta": {"to": [{"host": "**.googleapis.com"}], "gcpMetadata": {"scopes": ["s"]}}});
    let network = token_network();
    let made = credentials(&config, &Keeper::new(&[]), &network);
    let mut sent = get("https://run.googleapis.com/");
    made.apply(&names(&["meta"]), &mut sent, at(0)).await.unwrap();
    assert_eq!(sent.headers["authorization"], "Bearer tok-1");
    let asked = network.asked.lock().unwrap()[0].clone();
    assert_eq!(
        asked.url.as_str(),
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?scopes=s"
    );
    // Something else that answers there is not believed.
    let liar = Network::new(|_| Ok(answer(200, r#"{"access_token":"evil","expires_in":3600}"#)));
    let made = credentials(&config, &Keeper::new(&[]), &liar);
    let error = made.apply(&names(&["meta"]), &mut get("https://run.googleapis.com/"), at(0)).await.unwrap_err();
    assert_eq!(error.code, "credential/token-answer");
}

fn azure() -> Value {
    json!({"az": {"to": [{"host": "management.azure.com"}], "azureClient": {"tenant": "t", "clientId": "c", "clientSecret": "az"}}})
}

fn role(extra: Value) -> Value {
    let mut role = json!({"roleArn": "arn:aws:iam::123456789012:role/deploy", "duration": "15m", "externalId": "x 1"});
    for (key, value) in extra.as_object().unwrap() {
        role[key] = value.clone();
    }
    json!({"aws": {"to": [{"host": "**.amazonaws.com"}], "awsSigv4": {
        "accessKeyId": "id", "secretAccessKey": "key", "region": "eu-west-1", "assumeRole": role}}})
}

#[tokio::test]
async fn a_role_is_assumed_and_kept() {
    let network = Network::new(|_| {
        Ok(answer(
            200,
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>tempsecret\
             </SecretAccessKey><SessionToken>temptoken</SessionToken><Expiration>2023-11-14T22:28:20Z</Expiration>\
             </Credentials></AssumeRoleResult></AssumeRoleResponse>",
        ))
    });
    let keeper = Keeper::new(&[("id", "AKIA1"), ("key", "basesecret")]);
    let credentials = credentials(&role(json!({})), &keeper, &network);
    for seconds in [0, 1, 599] {
        let mut sent = get("https://ecs.eu-west-1.amazonaws.com/");
        credentials.apply(&names(&["aws"]), &mut sent, at(seconds)).await.unwrap();
        let text = wire(&sent);
        assert!(text.contains("Credential=ASIA1/") && text.contains("x-amz-security-token: temptoken"), "{text}");
    }
    assert_eq!(network.count(), 1);
    credentials.apply(&names(&["aws"]), &mut get("https://ecs.eu-west-1.amazonaws.com/"), at(700)).await.unwrap();
    assert_eq!(network.count(), 2);
    assert!(keeper.has_learned("tempsecret") && keeper.has_learned("temptoken"));
    let ask = network.asked.lock().unwrap()[0].clone();
    assert_eq!(ask.url.as_str(), "https://sts.eu-west-1.amazonaws.com/");
    assert_eq!(
        ask.body,
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdeploy&\
         RoleSessionName=basb-host&DurationSeconds=900&ExternalId=x+1"
    );
    let authorization = ask.headers["authorization"].to_str().unwrap();
    assert!(authorization.contains("Credential=AKIA1/20231114/eu-west-1/sts/aws4_request"), "{authorization}");
}

#[tokio::test]
async fn the_servers_words_are_passed_on_without_secrets() {
    let canary = "canary/8c1+=x";
    let echo = move |status: u16, body: String| Network::new(move |_| Ok(answer(status, body.clone())));
    let error_json =
        format!(r#"{{"error":"invalid_client","error_description":"AADSTS7000215: not {canary} at all\u001b[31m"}}"#);
    let error_xml = format!("<Error><Code>AccessDenied</Code><Message>{canary} may not</Message></Error>");
    let gcp_file = key_file(None);
    let cases = [
        (
            azure(),
            "https://management.azure.com/",
            echo(401, error_json.clone()),
            "credential/token-refused",
            "invalid_client",
        ),
        (
            azure(),
            "https://management.azure.com/",
            echo(500, canary.to_owned()),
            "credential/token-refused",
            "status 500",
        ),
        (azure(), "https://management.azure.com/", echo(200, canary.to_owned()), "credential/token-answer", "JSON"),
        (
            azure(),
            "https://management.azure.com/",
            echo(302, canary.to_owned()),
            "credential/token-refused",
            "status 302",
        ),
        (
            gcp(),
            "https://run.googleapis.com/",
            echo(400, error_json.replace("client", "grant")),
            "credential/token-refused",
            "invalid_grant",
        ),
        (
            role(json!({})),
            "https://ecs.eu-west-1.amazonaws.com/",
            echo(403, error_xml),
            "credential/token-refused",
            "AccessDenied",
        ),
        (
            role(json!({})),
            "https://ecs.eu-west-1.amazonaws.com/",
            echo(200, canary.to_owned()),
            "credential/token-answer",
            "lacks",
        ),
        (
            azure(),
            "https://management.azure.com/",
            Network::new(move |_| Err(TransportError(format!("reset after {canary}")))),
            "credential/token-unreachable",
            "reset",
        ),
    ];
    for (config, url, network, code, text) in cases {
        let keeper =
            Keeper::new(&[("az", canary), ("id", "AKIA"), ("key", canary), ("gcp-json", &gcp_file), ("x", canary)]);
        let credentials = credentials(&config, &keeper, &network);
        let allowed = credentials.config().names();
        let mut sent = get(url);
        let error = credentials.apply(&allowed, &mut sent, at(0)).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        let shown = format!("{error} {error:?} {credentials:?} {sent:?}");
        assert!(error.message.contains(text), "{error}");
        assert!(!shown.contains("canary") && !shown.contains('\u{1b}') && !shown.contains("PRIVATE"), "{shown}");
        assert!(sent.headers.is_empty(), "nothing was added");
    }
}

#[tokio::test]
async fn an_assertion_that_comes_back_is_redacted() {
    let network = Network::new(|ask| {
        let form: Vec<_> = url::form_urlencoded::parse(&ask.body).into_owned().collect();
        Ok(answer(
            400,
            json!({"error": "invalid_grant", "error_description": format!("bad {}", form[1].1)}).to_string(),
        ))
    });
    let keeper = Keeper::new(&[("gcp-json", &key_file(None))]);
    let credentials = credentials(&gcp(), &keeper, &network);
    let error = credentials.apply(&names(&["gcp"]), &mut get("https://run.googleapis.com/"), at(0)).await.unwrap_err();
    assert!(error.message.ends_with("invalid_grant: bad [secret]"), "{error}");
}

#[tokio::test]
async fn a_token_endpoint_cannot_smuggle() {
    for token in ["a\r\nx-evil: 1", "a b", "", "\u{e9}"] {
        let body = json!({"access_token": token, "expires_in": 3600}).to_string();
        let network = Network::new(move |_| Ok(answer(200, body.clone())));
        let credentials = credentials(&azure(), &Keeper::new(&[("az", "s")]), &network);
        let error =
            credentials.apply(&names(&["az"]), &mut get("https://management.azure.com/"), at(0)).await.unwrap_err();
        assert_eq!(error.code, "credential/token-answer", "{token:?}");
    }
}
