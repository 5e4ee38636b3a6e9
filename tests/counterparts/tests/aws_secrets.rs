//! AWS Secrets Manager, as moto speaks it; throttling, which moto does not, by a model.

use basb_counterparts::SecretsOf;
use basb_counterparts::emulator::Emulator;
use basb_counterparts::model_server::ModelServer;
use basb_counterparts::moto::{self, Auth};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use url::Url;

fn stores(endpoint: &Url) -> Value {
    json!({"cloud": {"awsSecretsManager": {
        "region": "eu-west-1",
        "accessKeyId": {"env": "AWS_ACCESS_KEY_ID"},
        "secretAccessKey": {"env": "AWS_SECRET_ACCESS_KEY"},
        "sessionToken": {"env": "AWS_SESSION_TOKEN"},
        "endpoint": endpoint.as_str(),
    }}})
}

fn names() -> Value {
    json!({
        "db": {"store": "cloud", "key": "apps/db", "field": "password"},
        "all": {"store": "cloud", "key": "apps/db"},
        "field": {"store": "cloud", "key": "apps/db", "field": "pasword"},
        "plain": {"store": "cloud", "key": "plain"},
        "previous": {"store": "cloud", "key": "plain", "stage": "AWSPREVIOUS"},
        "version": {"store": "cloud", "key": "plain", "version": "00000000-0000-0000-0000-000000000001"},
        "no-stage": {"store": "cloud", "key": "plain", "stage": "NOPE"},
        "binary": {"store": "cloud", "key": "binary"},
        "missing": {"store": "cloud", "key": "nope"},
        "deleted": {"store": "cloud", "key": "deleted"},
    })
}

async fn expect(secrets: &SecretsOf, name: &str, code: &str, text: &str) {
    let (found, said) = secrets.error(name).await;
    assert!(found == code && said.contains(text), "{name}: {said}");
    assert!(!said.contains("cAnArY"), "{said}");
}

async fn set_up(moto: &Emulator, action: &str, body: Value) {
    let answer = moto.json("secretsmanager", &format!("secretsmanager.{action}"), &body).await;
    assert_eq!(answer.status, 200, "{action}: {}", String::from_utf8_lossy(&answer.body));
}

#[tokio::test]
async fn values_versions_and_binaries_are_read() {
    let Some(moto) = moto::start(Auth::Off) else { return };
    let id = |n: u8| format!("00000000-0000-0000-0000-00000000000{n}");
    let db = json!({"user": "app", "password": "cAnArY-db"}).to_string();
    set_up(&moto, "CreateSecret", json!({"Name": "apps/db", "SecretString": db, "ClientRequestToken": id(0)})).await;
    set_up(&moto, "CreateSecret", json!({"Name": "plain", "SecretString": "cAnArY-1", "ClientRequestToken": id(1)}))
        .await;
    set_up(
        &moto,
        "PutSecretValue",
        json!({"SecretId": "plain", "SecretString": "cAnArY-2", "ClientRequestToken": id(2)}),
    )
    .await;
    let binary = BASE64_STANDARD.encode("cAnArY\nbinary");
    set_up(&moto, "CreateSecret", json!({"Name": "binary", "SecretBinary": binary, "ClientRequestToken": id(3)})).await;
    set_up(&moto, "CreateSecret", json!({"Name": "deleted", "SecretString": "cAnArY-d", "ClientRequestToken": id(4)}))
        .await;
    set_up(&moto, "DeleteSecret", json!({"SecretId": "deleted"})).await;

    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "cAnArY-access-key")];
    let secrets = SecretsOf::new(&stores(&moto.endpoint), &names(), &keys, Path::new("/"));
    assert_eq!(secrets.text("db").await.unwrap(), "cAnArY-db");
    assert_eq!(secrets.text("all").await.unwrap(), db);
    assert_eq!(secrets.text("plain").await.unwrap(), "cAnArY-2");
    assert_eq!(secrets.text("previous").await.unwrap(), "cAnArY-1");
    assert_eq!(secrets.text("version").await.unwrap(), "cAnArY-1");
    assert_eq!(secrets.text("binary").await.unwrap(), "cAnArY\nbinary");
    assert_eq!(secrets.redactor.find(b"cAnArY-access-key").unwrap().as_str(), "store-cloud");
    expect(&secrets, "field", "secret/field", "did you mean `password`").await;
    expect(&secrets, "missing", "secret/missing", "eu-west-1").await;
    expect(&secrets, "no-stage", "secret/missing", "ResourceNotFoundException").await;
    expect(&secrets, "deleted", "secret/deleted", "restore-secret").await;
}

#[tokio::test]
async fn signatures_and_policies_are_verified_by_the_other_side() {
    let Some(moto) = moto::start(Auth::AfterFirst(4)) else { return };
    let secret = json!({"Name": "plain", "SecretString": "cAnArY-1", "ClientRequestToken": "0".repeat(36)});
    set_up(&moto, "CreateSecret", secret).await;
    let allow = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"},
    ]});
    let key = moto.user("reader", &allow).await;
    let with = |id: &str, secret: &str| {
        let keys = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
        SecretsOf::new(&stores(&moto.endpoint), &names(), &keys, Path::new("/"))
    };
    let good = with(&key.id, &key.secret);
    assert_eq!(good.text("plain").await.unwrap(), "cAnArY-1");
    assert!(good.redactor.find(key.id.as_bytes()).is_some() && good.redactor.find(key.secret.as_bytes()).is_some());
    let refused = ["secret/denied", "secret/store-credentials"];
    for (secrets, what) in [
        (with(&key.id, "cAnArYcAnArYcAnArYcAnArYcAnArYcAnArY0000"), "a wrong secret"),
        (with("AKIAcAnArYcAnArY0000", &key.secret), "an unknown id"),
    ] {
        let (code, said) = secrets.error("plain").await;
        assert!(refused.contains(&code), "{what}: {said}");
        assert!(!said.contains("cAnArY"), "{said}");
    }
}

#[tokio::test]
async fn an_action_outside_of_the_policy_is_denied() {
    let Some(moto) = moto::start(Auth::AfterFirst(4)) else { return };
    let secret = json!({"Name": "plain", "SecretString": "cAnArY-1", "ClientRequestToken": "0".repeat(36)});
    set_up(&moto, "CreateSecret", secret).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"},
    ]});
    let key = moto.user("lister", &policy).await;
    let keys = [("AWS_ACCESS_KEY_ID", key.id.as_str()), ("AWS_SECRET_ACCESS_KEY", &key.secret)];
    let secrets = SecretsOf::new(&stores(&moto.endpoint), &names(), &keys, Path::new("/"));
    expect(&secrets, "plain", "secret/denied", "secretsmanager:GetSecretValue").await;
}

/// A model of what AWS answers: the status, the error's code, the message.
async fn refusing(status: u16, code: &'static str, message: &'static str, first: usize) -> (ModelServer, SecretsOf) {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = ModelServer::start(move |_| {
        if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < first {
            let body = json!({"__type": format!("com.amazonaws.secretsmanager#{code}"), "message": message});
            (status, Vec::new(), body.to_string())
        } else {
            (200, Vec::new(), json!({"Name": "plain", "SecretString": "cAnArY-1"}).to_string())
        }
    })
    .await;
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIAcAnArYcAnArY0001"),
        ("AWS_SECRET_ACCESS_KEY", "cAnArY-access-key"),
        ("AWS_SESSION_TOKEN", "cAnArY-session-token"),
    ];
    let secrets = SecretsOf::new(&stores(&server.url), &names(), &keys, Path::new("/"));
    (server, secrets)
}

#[tokio::test]
async fn throttling_passes_and_refusals_are_told_apart() {
    let (server, secrets) = refusing(400, "ThrottlingException", "Rate exceeded", 2).await;
    assert_eq!(secrets.text("plain").await.unwrap(), "cAnArY-1");
    let received = server.received();
    assert_eq!(received.len(), 3);
    let last = received.last().unwrap();
    assert_eq!(last.header("x-amz-security-token"), "cAnArY-session-token");
    assert!(last.header("authorization").contains("/eu-west-1/secretsmanager/aws4_request"), "{last:?}");
    assert!(last.header("authorization").contains("x-amz-security-token"), "the token is signed: {last:?}");

    for (status, code, message, expected) in [
        (400, "AccessDeniedException", "User: arn:aws:iam::1:user/a is not authorized", "secret/denied"),
        (400, "UnrecognizedClientException", "The security token is invalid", "secret/store-credentials"),
        (400, "InvalidSignatureException", "Signature expired", "secret/store-credentials"),
        (400, "ExpiredTokenException", "The security token is expired", "secret/store-credentials"),
        (400, "ResourceNotFoundException", "Secrets Manager can't find it", "secret/missing"),
        (400, "InvalidRequestException", "it was marked for deletion", "secret/deleted"),
        (400, "InvalidRequestException", "cAnArY-access-key was reflected", "secret/store-failed"),
        (400, "DecryptionFailure", "the KMS key is disabled", "secret/denied"),
        (403, "403", "not authorized", "secret/denied"),
    ] {
        let (server, secrets) = refusing(status, code, message, usize::MAX).await;
        expect(&secrets, "plain", expected, "").await;
        assert_eq!(server.received().len(), 1, "{code} stays it");
    }
    let (server, secrets) = refusing(503, "ServiceUnavailable", "down", usize::MAX).await;
    expect(&secrets, "plain", "secret/store-unavailable", "ServiceUnavailable: down").await;
    assert_eq!(server.received().len(), 4);
}
