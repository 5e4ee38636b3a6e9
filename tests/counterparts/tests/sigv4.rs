//! Signatures and assumed roles against moto, which verifies both and IAM policies: somebody else's verifier.

use basb_counterparts::RealTransport;
use basb_counterparts::emulator::{self, AccessKey, Emulator};
use basb_counterparts::model_server::ModelServer;
use basb_counterparts::moto::{self, Auth};
use basb_credentials::{CredentialError, Credentials, CredentialsConfig, Outgoing, Place};
use basb_redact::{Redactor, SecretValue};
use basb_secrets::{Answer, Ask, Environment, Secrets, SecretsConfig, Transport};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use url::Url;

const REGION: &str = "eu-west-1";

/// The product's own secrets and credentials, with these values in the environment, for one destination.
struct Door {
    credentials: Credentials,
    transport: Arc<RealTransport>,
    redactor: Redactor,
}

impl Door {
    fn new(moto: &Emulator, key: &AccessKey, more: &Value) -> Self {
        let variables = BTreeMap::from([
            ("ID".to_owned(), SecretValue::new(key.id.clone())),
            ("KEY".to_owned(), SecretValue::new(key.secret.clone())),
        ]);
        let secrets = json!({"aws-id": {"store": "env", "key": "ID"}, "aws-key": {"store": "env", "key": "KEY"}});
        let secrets = SecretsConfig::parse(&Value::Null, &secrets).unwrap();
        let mut aws = json!({"accessKeyId": "aws-id", "secretAccessKey": "aws-key", "region": REGION});
        for (name, value) in more.as_object().unwrap() {
            aws[name] = value.clone();
        }
        let to = json!([{"host": "127.0.0.1", "scheme": "http", "port": moto.endpoint.port().unwrap()}]);
        let config = CredentialsConfig::parse(&json!({"aws": {"to": to, "awsSigv4": aws}})).unwrap();
        let (transport, redactor) = (RealTransport::new(), Redactor::default());
        let environment = Environment::Fixed(Arc::new(variables));
        let secrets =
            Secrets::with_environment(secrets, PathBuf::from("/"), transport.clone(), redactor.clone(), environment);
        let credentials = Credentials::new(config, Arc::new(secrets), transport.clone());
        Self { credentials, transport, redactor }
    }

    async fn send(&self, mut request: Outgoing) -> Result<Answer, CredentialError> {
        let allowed = self.credentials.config().names();
        self.credentials.apply(&allowed, &mut request, SystemTime::now()).await?;
        let Outgoing { method, url, headers, body, .. } = request;
        let ask = Ask { method, url, headers, body, timeout: Duration::from_secs(60) };
        Ok(self.transport.exchange(ask).await.expect("moto answers"))
    }
}

fn request(method: Method, moto: &Emulator, path: &str, headers: &[(&str, &str)], body: &str) -> Outgoing {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let url = Url::parse(&format!("{}{path}", moto.endpoint.as_str().trim_end_matches('/'))).unwrap();
    Outgoing { method, url, headers: map, body: Bytes::from(body.to_owned()), place: Place::Network }
}

fn ecs(moto: &Emulator, action: &str) -> Outgoing {
    let target = format!("AmazonEC2ContainerServiceV20141113.{action}");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
    request(Method::POST, moto, "/", &headers, "{\"clusterName\":\"c\",\"cluster\":\"c\"}")
}

fn text(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

fn policy(actions: &[&str]) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
}

#[tokio::test]
async fn moto_accepts_the_signature_and_the_policy_decides() {
    let Some(moto) = moto::start(Auth::AfterFirst(3)) else { return };
    let key = moto.user("deployer", &policy(&["ecs:CreateCluster", "s3:*", "ssm:*"])).await;
    let door = Door::new(&moto, &key, &json!({"service": "ecs"}));
    let created = door.send(ecs(&moto, "CreateCluster")).await.unwrap();
    assert_eq!(created.status, 200, "{}", text(&created));
    let outside = door.send(ecs(&moto, "DeleteCluster")).await.unwrap();
    assert_eq!(outside.status, 403, "{}", text(&outside));

    let wrong = AccessKey { id: key.id.clone(), secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned() };
    let wrong = Door::new(&moto, &wrong, &json!({"service": "ecs"})).send(ecs(&moto, "CreateCluster")).await.unwrap();
    assert_eq!(wrong.status, 403, "{}", text(&wrong));
    let unknown = AccessKey { id: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret: key.secret.clone() };
    let unknown =
        Door::new(&moto, &unknown, &json!({"service": "ecs"})).send(ecs(&moto, "CreateCluster")).await.unwrap();
    assert_eq!(unknown.status, 403, "{}", text(&unknown));

    // A body or a header that is changed after signing is noticed, so moto does verify.
    let mut changed = ecs(&moto, "CreateCluster");
    let allowed = door.credentials.config().names();
    door.credentials.apply(&allowed, &mut changed, SystemTime::now()).await.unwrap();
    let ask = Ask {
        method: changed.method,
        url: changed.url,
        headers: changed.headers,
        body: Bytes::from_static(b"{\"clusterName\":\"other\"}"),
        timeout: Duration::from_secs(60),
    };
    let changed = door.transport.exchange(ask).await.unwrap();
    assert_eq!(changed.status, 403, "{}", text(&changed));
}

#[tokio::test]
async fn moto_accepts_signatures_of_s3() {
    let Some(moto) = moto::start(Auth::AfterFirst(3)) else { return };
    let key = moto.user("deployer", &policy(&["s3:*"])).await;
    let door = Door::new(&moto, &key, &json!({"service": "s3"}));
    let location = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>\
                    eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    let made = door.send(request(Method::PUT, &moto, "/releases", &[], location)).await.unwrap();
    assert_eq!(made.status, 200, "{}", text(&made));
    for path in
        ["/releases/plain.txt", "/releases/with%20space/and/more", "/releases/%C3%A9t%C3%A9", "/releases/a-b_c.d~e"]
    {
        let headers =
            [("content-type", "text/plain"), ("x-amz-meta-run", "r1"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")];
        let put = door.send(request(Method::PUT, &moto, path, &headers, "hello")).await.unwrap();
        assert_eq!(put.status, 200, "{path}: {}", text(&put));
        let got = door.send(request(Method::GET, &moto, path, &[], "")).await.unwrap();
        assert_eq!((got.status, &got.body[..]), (200, &b"hello"[..]), "{path}");
    }
    let listed =
        door.send(request(Method::GET, &moto, "/releases?list-type=2&prefix=with%20space%2F", &[], "")).await.unwrap();
    assert!(listed.status == 200 && text(&listed).contains("with space/and/more"), "{}", text(&listed));
    let wrong = AccessKey { id: key.id, secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned() };
    let wrong = Door::new(&moto, &wrong, &json!({"service": "s3"}));
    let refused = wrong.send(request(Method::GET, &moto, "/releases/plain.txt", &[], "")).await.unwrap();
    assert!(refused.status == 403 && text(&refused).contains("SignatureDoesNotMatch"), "{}", text(&refused));
}

#[tokio::test]
async fn a_role_gives_what_the_user_has_not() {
    let Some(moto) = moto::start(Auth::AfterFirst(5)) else { return };
    let key = moto.user("ci", &policy(&["sts:AssumeRole"])).await;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]});
    let version = ("Version", "2010-05-08");
    let role = moto
        .query(
            "iam",
            &[
                ("Action", "CreateRole"),
                version,
                ("RoleName", "deploy"),
                ("AssumeRolePolicyDocument", &trust.to_string()),
            ],
        )
        .await;
    assert_eq!(role.status, 200, "{}", text(&role));
    let arn = emulator::element(&String::from_utf8_lossy(&role.body), "Arn");
    let allowed = policy(&["ecs:CreateCluster"]).to_string();
    let put = [
        ("Action", "PutRolePolicy"),
        version,
        ("RoleName", "deploy"),
        ("PolicyName", "p"),
        ("PolicyDocument", &allowed),
    ];
    assert_eq!(moto.query("iam", &put).await.status, 200);

    let alone = Door::new(&moto, &key, &json!({"service": "ecs"}));
    assert_eq!(alone.send(ecs(&moto, "CreateCluster")).await.unwrap().status, 403);

    let assume = json!({"service": "ecs", "assumeRole": {"roleArn": arn, "duration": "15m", "endpoint": moto.endpoint.as_str()}});
    let door = Door::new(&moto, &key, &assume);
    let created = door.send(ecs(&moto, "CreateCluster")).await.unwrap();
    assert_eq!(created.status, 200, "{}", text(&created));
    let outside = door.send(ecs(&moto, "DeleteCluster")).await.unwrap();
    assert_eq!(outside.status, 403, "{}", text(&outside));
    assert_eq!(door.transport.sent(), 3, "the role is assumed once");

    // The temporary keys are kept out of everything that is shown.
    let mut seen = ecs(&moto, "CreateCluster");
    door.credentials.apply(&door.credentials.config().names(), &mut seen, SystemTime::now()).await.unwrap();
    let token = seen.headers["x-amz-security-token"].to_str().unwrap();
    assert!(!door.redactor.text(&format!("token {token}")).contains(token));

    let wrong = AccessKey { id: key.id.clone(), secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned() };
    let error = Door::new(&moto, &wrong, &assume).send(ecs(&moto, "CreateCluster")).await.unwrap_err();
    assert_eq!(error.code, "credential/token-refused", "{error}");
    assert!(!format!("{error:?}").contains(&wrong.secret), "{error}");
}

/// A model of STS: for the parts that moto does not look at.
#[tokio::test]
async fn an_external_id_reaches_sts() {
    let sts = ModelServer::start(|_| {
        let body = "<R><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>secret1</SecretAccessKey>\
                    <SessionToken>token1</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>";
        (200, vec![("content-type", "text/xml".to_owned())], body.to_owned())
    })
    .await;
    let Some(moto) = moto::start(Auth::Off) else { return };
    let key = AccessKey { id: "AKIA1".to_owned(), secret: "basesecret".to_owned() };
    let role =
        json!({"roleArn": "arn:aws:iam::123456789012:role/x", "externalId": "a&b=c", "endpoint": sts.url.as_str()});
    let door = Door::new(&moto, &key, &json!({"service": "ecs", "assumeRole": role}));
    assert_eq!(door.send(ecs(&moto, "CreateCluster")).await.unwrap().status, 200);
    let received = sts.received();
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&received[0].body).into_owned().collect();
    assert_eq!(form["ExternalId"], "a&b=c");
    assert!(received[0].header("authorization").contains("/eu-west-1/sts/aws4_request"));
}
