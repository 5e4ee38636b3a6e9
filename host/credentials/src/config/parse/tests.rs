use super::super::CredentialsConfig;
use serde_json::{Value, json};

fn problems(value: &Value) -> Vec<(String, String)> {
    let problems = CredentialsConfig::parse(value).unwrap_err();
    problems.into_iter().map(|p| (p.pointer, format!("{}: {}", p.message, p.help))).collect()
}

#[test]
fn every_form_is_read() {
    let all = json!({
        "deploy": {"to": [{"host": "**.amazonaws.com"}], "awsSigv4": {
            "accessKeyId": "aws-id", "secretAccessKey": "aws-key", "sessionToken": "aws-token", "region": "eu-west-1",
            "service": "ecs", "assumeRole": {"roleArn": "arn:aws:iam::123456789012:role/deploy", "sessionName": "basb",
            "externalId": "x", "duration": "1h", "endpoint": "https://sts.eu-west-1.amazonaws.com"}}},
        "gcp": {"to": [{"host": "**.googleapis.com"}], "gcpServiceAccount": {"key": "gcp-json", "scopes": ["a"], "tokenUrl": "https://oauth2.googleapis.com/token"}},
        "meta": {"to": [{"host": "run.googleapis.com"}], "gcpMetadata": {}},
        "azure": {"to": [{"host": "management.azure.com"}], "azureClient": {"tenant": "t", "clientId": "c", "clientSecret": "az-secret"}},
        "api": {"to": [{"host": "127.0.0.1", "scheme": "http", "port": 8080}, {"socket": "agent"}], "bearer": "api-token"},
        "basic": {"to": [{"host": "a.example"}], "basic": {"username": "bob", "password": "pw"}},
        "hdr": {"to": [{"host": "a.example"}], "header": {"name": "X-Api-Key", "value": "api-token", "prefix": ""}},
        "mtls": {"to": [{"host": "a.example"}], "mtls": {"certificate": "cert-pem", "key": "key-pem"}},
        "hook": {"to": [{"host": "hooks.slack.com"}], "placeholder": "slack-url"}
    });
    let read = CredentialsConfig::parse(&all).unwrap();
    assert_eq!(read.names().len(), 9);
    let kinds: Vec<_> = read.names().iter().filter_map(|name| read.kind_of(name)).collect();
    assert_eq!(
        kinds,
        [
            "bearer",
            "azureClient",
            "basic",
            "awsSigv4",
            "gcpServiceAccount",
            "header",
            "placeholder",
            "gcpMetadata",
            "mtls"
        ]
    );
    let secrets: Vec<_> = read.secrets_of(&read.names()).into_iter().map(String::from).collect();
    assert_eq!(
        secrets,
        [
            "api-token",
            "aws-id",
            "aws-key",
            "aws-token",
            "az-secret",
            "cert-pem",
            "gcp-json",
            "key-pem",
            "pw",
            "slack-url"
        ]
    );
    let api = read.names().into_iter().next().unwrap();
    assert_eq!(read.destinations_of(&api), ["http://127.0.0.1:8080", "socket agent"]);
    assert!(CredentialsConfig::parse(&Value::Null).unwrap().names().is_empty());
    assert!(CredentialsConfig::parse(&json!({})).unwrap().names().is_empty());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let to = json!([{"host": "a.example"}]);
    let sigv4 = |more: Value| {
        let mut aws = json!({"accessKeyId": "i", "secretAccessKey": "k"});
        for (key, value) in more.as_object().unwrap() {
            aws[key] = value.clone();
        }
        json!({"a": {"to": [{"host": "**.amazonaws.com"}], "awsSigv4": aws}})
    };
    let cases = [
        (json!([]), "/credentials", "write a mapping"),
        (json!({"A": {"to": to, "bearer": "t"}}), "/credentials/A", "is not the name of a credential"),
        (json!({"a": "x"}), "/credentials/a", "write a mapping"),
        (json!({"a": {"to": to}}), "/credentials/a", "what the credential does"),
        (json!({"a": {"bearer": "t"}}), "/credentials/a", "name its destinations"),
        (json!({"a": {"to": [], "bearer": "t"}}), "/credentials/a", "name its destinations"),
        (json!({"a": {"to": {"host": "b"}, "bearer": "t"}}), "/credentials/a/to", "write a list"),
        (json!({"a": {"to": to, "bearer": "t", "basic": {}}}), "/credentials/a", "bearer, basic"),
        (json!({"a": {"to": to, "bearer": "T!"}}), "/credentials/a/bearer", "never the value"),
        (json!({"a": {"to": to, "bearer": 3}}), "/credentials/a/bearer", "must be text"),
        (json!({"a": {"to": to, "barer": "t"}}), "/credentials/a/barer", "did you mean `bearer`"),
        (json!({"a": {"to": to, "awssigv4": {}}}), "/credentials/a/awssigv4", "did you mean `awsSigv4`"),
        (json!({"a": {"to": [{}], "bearer": "t"}}), "/credentials/a/to/0", "exactly one"),
        (
            json!({"a": {"to": [{"host": "b.example", "socket": "s"}], "bearer": "t"}}),
            "/credentials/a/to/0",
            "exactly one",
        ),
        (json!({"a": {"to": [{"host": "*"}], "bearer": "t"}}), "/credentials/a/to/0/host", "is not a host"),
        (
            json!({"a": {"to": [{"host": "https://b.example"}], "bearer": "t"}}),
            "/credentials/a/to/0/host",
            "is not a host",
        ),
        (
            json!({"a": {"to": [{"host": "b.example", "scheme": "ftp"}], "bearer": "t"}}),
            "/credentials/a/to/0/scheme",
            "`https` or `http`",
        ),
        (
            json!({"a": {"to": [{"host": "b.example", "port": 0}], "bearer": "t"}}),
            "/credentials/a/to/0/port",
            "1 to 65535",
        ),
        (
            json!({"a": {"to": [{"host": "b.example", "path": "/x"}], "bearer": "t"}}),
            "/credentials/a/to/0/path",
            "unknown key",
        ),
        (json!({"a": {"to": [{"socket": "../x"}], "bearer": "t"}}), "/credentials/a/to/0/socket", "socket"),
        (
            json!({"a": {"to": to, "basic": {"username": "a:b", "password": "p"}}}),
            "/credentials/a/basic/username",
            "colon",
        ),
        (json!({"a": {"to": to, "basic": {"username": "a"}}}), "/credentials/a/basic", "`password` is missing"),
        (
            json!({"a": {"to": to, "header": {"name": "Host", "value": "p"}}}),
            "/credentials/a/header/name",
            "can be set",
        ),
        (json!({"a": {"to": to, "header": {"name": "x y", "value": "p"}}}), "/credentials/a/header/name", "can be set"),
        (
            json!({"a": {"to": to, "header": {"name": "x", "value": "p", "prefix": "\n"}}}),
            "/credentials/a/header/prefix",
            "printable",
        ),
        (
            json!({"a": {"to": [{"host": "b.example", "scheme": "http"}], "mtls": {"certificate": "c", "key": "k"}}}),
            "/credentials/a/to/0",
            "TLS only",
        ),
        (
            json!({"a": {"to": to, "gcpServiceAccount": {"key": "k"}}}),
            "/credentials/a/gcpServiceAccount",
            "`scopes` is missing",
        ),
        (
            json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": []}}}),
            "/credentials/a/gcpServiceAccount/scopes",
            "is empty",
        ),
        (
            json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": ["a b"]}}}),
            "/credentials/a/gcpServiceAccount/scopes/0",
            "not a scope",
        ),
        (
            json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": ["a"], "tokenUrl": "http://b.example/t"}}}),
            "/credentials/a/gcpServiceAccount/tokenUrl",
            "in the clear",
        ),
        (
            json!({"a": {"to": to, "gcpMetadata": {"endpoint": "http://b.example"}}}),
            "/credentials/a/gcpMetadata/endpoint",
            "in the clear",
        ),
        (
            json!({"a": {"to": to, "gcpMetadata": {"account": "../x"}}}),
            "/credentials/a/gcpMetadata/account",
            "not a service account",
        ),
        (
            json!({"a": {"to": to, "azureClient": {"tenant": "a/b", "clientId": "c", "clientSecret": "s"}}}),
            "/credentials/a/azureClient/tenant",
            "not a tenant",
        ),
        (
            json!({"a": {"to": to, "azureClient": {"tenant": "t", "clientId": "c", "clientSecret": "s", "authority": "https://u:p@b.example"}}}),
            "/credentials/a/azureClient/authority",
            "user information",
        ),
        (
            json!({"a": {"to": to, "awsSigv4": {"accessKeyId": "i"}}}),
            "/credentials/a/awsSigv4",
            "`secretAccessKey` is missing",
        ),
        (
            json!({"a": {"to": to, "awsSigv4": {"accessKeyId": "i", "secretAccessKey": "k"}}}),
            "/credentials/a/to/0",
            "`region: eu-west-1`",
        ),
        (sigv4(json!({"region": "EU West"})), "/credentials/a/awsSigv4/region", "not a region"),
        (sigv4(json!({"assumeRole": {}})), "/credentials/a/awsSigv4/assumeRole", "`roleArn` is missing"),
        (
            sigv4(json!({"assumeRole": {"roleArn": "deploy"}})),
            "/credentials/a/awsSigv4/assumeRole/roleArn",
            "arn:aws:iam",
        ),
        (
            sigv4(json!({"assumeRole": {"roleArn": "arn:aws:iam::1:role/a", "duration": "1m"}})),
            "/credentials/a/awsSigv4/assumeRole/duration",
            "15m",
        ),
        (
            sigv4(json!({"assumeRole": {"roleArn": "arn:aws:iam::1:role/a", "sessionName": "a b"}})),
            "/credentials/a/awsSigv4/assumeRole/sessionName",
            "letters",
        ),
    ];
    for (value, pointer, text) in cases {
        let found = problems(&value);
        assert!(found.iter().any(|(at, message)| at == pointer && message.contains(text)), "{value}: {found:?}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let found = problems(&json!({
        "a": {"to": [{"host": "*"}], "bearer": 1, "x": 1},
        "b": {"basic": {"username": ":"}}
    }));
    assert_eq!(found.len(), 6, "{found:?}");
}

#[test]
fn a_secret_that_is_written_into_the_file_is_not_repeated() {
    let canary = "SG.Canary_0123456789";
    for value in [
        json!({"a": {"to": [{"host": "a.example"}], "bearer": canary}}),
        json!({"a": {"to": [{"host": "a.example"}], "placeholder": canary}}),
        json!({"a": {"to": [{"host": "a.example"}], "basic": {"username": "u", "password": canary}}}),
    ] {
        let found = format!("{:?}", CredentialsConfig::parse(&value).unwrap_err());
        assert!(!found.contains(canary), "{found}");
    }
}
