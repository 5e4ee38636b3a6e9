//! No secret in an error, in a `Debug`, or in a log at any level, whatever goes wrong.

use crate::network::{Network, answer};
use crate::{Setup, name, setup};
use basb_secrets::{Answer, Ask, TransportError};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// In every secret of these tests, and nowhere else.
const CANARY: &str = "cAnArY";

/// Keeps everything that anybody logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

const VARIABLES: [(&str, &str); 6] = [
    ("TOKEN", "hvs.cAnArY-token"),
    ("SECRET_ID", "cAnArY-secret-id"),
    ("KEY_ID", "AKIAcAnArYcAnArY0001"),
    ("KEY", "cAnArY/secret/access/key"),
    ("SESSION", "cAnArY-session-token"),
    ("OBJECT", r#"{"password": "cAnArY-inner""#),
];

fn everything(network: Arc<Network>) -> Setup {
    let stores = json!({
        "v": {"vault": {"address": "https://vault.example", "token": {"env": "TOKEN"}}},
        "v1": {"vault": {"address": "https://vault.example", "version": 1, "token": {"env": "TOKEN"}}},
        "role": {"vault": {"address": "https://vault.example", "appRole": {"roleId": "r", "secretId": {"env": "SECRET_ID"}}}},
        "aws": {"awsSecretsManager": {"region": "eu-west-1", "accessKeyId": {"env": "KEY_ID"},
            "secretAccessKey": {"env": "KEY"}, "sessionToken": {"env": "SESSION"}}},
    });
    let secrets = json!({
        "v": {"store": "v", "key": "a", "field": "password"},
        "v-whole": {"store": "v", "key": "a"},
        "v1": {"store": "v1", "key": "a", "field": "password"},
        "role": {"store": "role", "key": "a", "field": "password"},
        "aws": {"store": "aws", "key": "a", "field": "password"},
        "aws-whole": {"store": "aws", "key": "a"},
        "broken": {"store": "env", "key": "OBJECT", "field": "password"},
    });
    setup(stores, secrets, &VARIABLES, network, Path::new("/"))
}

/// Asks for everything, and looks into everything that is said.
async fn search(network: Arc<Network>) -> String {
    let mut text = String::new();
    let setup = everything(network);
    let wanted = ["v", "v-whole", "v1", "role", "aws", "aws-whole", "broken"].map(name);
    for result in join_all(wanted.iter().map(|wanted| setup.secrets.get(wanted))).await {
        write!(text, "{result:?} ").unwrap();
        if let Err(error) = result {
            write!(text, "{error} {} ", error.help).unwrap();
        }
    }
    write!(text, "{:?} {:?}", setup.secrets, setup.redactor).unwrap();
    // Nor may what is sent be shown by whoever logs requests.
    for ask in setup.network.asked() {
        let mut shown = format!("{} {:?}", ask.url, ask.headers);
        if !ask.url.path().ends_with("login") {
            write!(shown, "{:?}", ask.body).unwrap();
        }
        text.push_str(&shown);
    }
    text
}

fn check(text: &str) {
    let at = text.find(CANARY);
    assert!(at.is_none(), "{}", &text[at.unwrap().saturating_sub(300)..(at.unwrap() + 100).min(text.len())]);
}

#[tokio::test]
async fn no_answer_makes_anything_say_a_secret() {
    type Reply = Box<dyn Fn(&Ask) -> Result<Answer, TransportError> + Send + Sync>;
    let replies: Vec<Reply> = vec![
        // fine
        Box::new(|_| {
            let fields = json!({"password": "cAnArY-password"});
            answer(
                200,
                &json!({"auth": {"client_token": "cAnArY-lease", "lease_duration": 60},
                "data": {"data": fields, "password": "cAnArY-password"}, "SecretString": fields.to_string()}),
            )
        }),
        // the field is another one
        Box::new(|_| {
            let fields = json!({"passwrd": "cAnArY-password"});
            answer(
                200,
                &json!({"auth": {"client_token": "cAnArY-lease"},
                "data": {"data": fields, "passwrd": "cAnArY-password"}, "SecretString": fields.to_string()}),
            )
        }),
        // text where an object should be, and the other way round
        Box::new(|_| answer(200, &json!({"data": "cAnArY", "SecretString": {"a": "cAnArY"}, "auth": ["cAnArY"]}))),
        Box::new(|_| answer(200, &json!({"SecretBinary": "cAnArY not base64", "data": {"data": ["cAnArY"]}}))),
        Box::new(|_| answer(200, &json!({"SecretString": "cAnArY-text, not JSON", "data": {"data": "cAnArY"}}))),
        Box::new(|_| answer(200, &json!("cAnArY"))),
        // cut off, not JSON
        Box::new(|_| body(200, br#"{"SecretString": "cAnArY-value"#)),
        Box::new(|_| body(200, b"cAnArY \xff\x00")),
        Box::new(|_| body(500, b"<html>cAnArY</html>")),
        // with the data beside the failure
        Box::new(|_| answer(404, &json!({"data": {"data": {"password": "cAnArY"}, "metadata": {"destroyed": true}}}))),
        Box::new(|_| answer(403, &json!({"data": {"password": "cAnArY"}, "errors": ["permission denied"]}))),
        Box::new(|_| answer(302, &json!({"SecretString": "cAnArY"}))),
        // the request, reflected: the credentials of the store are in it
        Box::new(|ask| {
            answer(403, &json!({"errors": [reflected(ask)], "message": reflected(ask), "__type": reflected(ask)}))
        }),
        Box::new(|ask| answer(400, &json!({"errors": [reflected(ask)], "message": reflected(ask)}))),
        Box::new(|ask| answer(500, &json!({"errors": [reflected(ask)], "message": reflected(ask)}))),
        Box::new(|ask| Err(TransportError(format!("cannot send {}", reflected(ask))))),
    ];
    // At the same time: what may pass is asked for again, after real pauses.
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    tracing::trace!("the log is kept");
    let searches = replies.into_iter().map(|reply| search(Network::new(move |_, ask| reply(ask))));
    join_all(searches).await.iter().for_each(|text| check(text));
    let log = log.0.lock().unwrap();
    assert!(log.contains("the log is kept"), "{log}");
    check(&log);
}

/// All that was sent.
fn reflected(ask: &Ask) -> String {
    let mut out = String::from_utf8_lossy(&ask.body).into_owned();
    for value in ask.headers.values() {
        out.push_str(&String::from_utf8_lossy(value.as_bytes()));
        out.push(' ');
    }
    out
}

fn body(status: u16, body: &[u8]) -> Result<Answer, TransportError> {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("86400"));
    Ok(Answer { status, headers, body: Bytes::copy_from_slice(body) })
}

/// Any JSON whose texts are all canaries: keys are those that stores answer with.
fn answers() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!("cAnArY-leaf")),
        Just(json!("")),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "data",
        "metadata",
        "auth",
        "client_token",
        "SecretString",
        "SecretBinary",
        "password",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_store_answers_nothing_of_it_is_said(
        status in prop::sample::select(vec![200u16, 200, 200, 400, 403, 404]),
        value in answers(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(search(Network::new(move |_, _| answer(status, &value))));
        prop_assert!(!text.contains(CANARY), "{}", text);
    }
}
