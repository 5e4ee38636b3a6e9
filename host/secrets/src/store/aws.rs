//! AWS Secrets Manager: `GetSecretValue` in JSON 1.1, signed with SigV4.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>

use crate::config::{AwsConfig, Item};
use crate::error::{self, StoreError, quoted};
use crate::field::{Raw, wipe};
use crate::own::{ANSWER, Again, Need, Own};
use crate::{Answer, Ask};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use basb_redact::SecretValue;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};
use std::time::SystemTime;
use tokio::sync::OnceCell;
use url::Position;

/// The shortest access key id that is kept out of logs. AWS makes none below 16 characters; ids such as `test`, of
/// emulators, stand in too many other texts.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html>
const SHORTEST_ID: usize = 16;

pub(crate) struct SecretsManager {
    config: AwsConfig,
    own: Own,
    credentials: OnceCell<Credentials>,
}

impl SecretsManager {
    pub fn new(config: AwsConfig, own: Own) -> Self {
        Self { config, own, credentials: OnceCell::new() }
    }

    pub async fn read(&self, item: &Item, what: &str) -> Result<Raw, StoreError> {
        let credentials = self.credentials.get_or_try_init(|| self.credentials()).await?;
        let mut body = Map::new();
        body.insert("SecretId".to_owned(), item.key.clone().into());
        for (name, value) in [("VersionStage", &item.stage), ("VersionId", &item.version)] {
            if let Some(value) = value {
                body.insert(name.to_owned(), value.clone().into());
            }
        }
        let ask = self.signed(credentials, Value::Object(body).to_string())?;
        let answer = self.own.exchange(ask, passing).await?;
        if answer.status != 200 {
            return Err(self.explain(&answer, what));
        }
        self.value(&answer, what)
    }

    async fn credentials(&self) -> Result<Credentials, StoreError> {
        let id = self.own.held(&self.config.access_key_id, "access key id", Need::Required).await?;
        let key = self.own.required(&self.config.secret_access_key, "secret access key").await?;
        let token = match &self.config.session_token {
            Some(held) => self.own.held(held, "session token", Need::Optional).await?,
            None => None,
        };
        for (value, what) in [(&id, "access key id"), (&token, "session token")] {
            if let Some(value) = value.as_ref().filter(|value| value.expose().len() >= SHORTEST_ID) {
                self.own.teach(value, what)?;
            }
        }
        let text = |value: &SecretValue| {
            // What cannot stand in a header would fail in the signer, with a worse message.
            let text = value.expose_text().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
            text.map(str::to_owned).ok_or_else(|| {
                StoreError::new(
                    error::CREDENTIALS,
                    format!("the access key of store `{}` has characters that no access key has", self.own.name),
                    "check that the files or variables hold it and nothing else",
                )
            })
        };
        let id = id.as_ref().map(text).transpose()?.unwrap_or_default();
        let token = token.as_ref().map(text).transpose()?;
        Ok(Credentials::new(id, text(&key)?, token, None, "deployment file"))
    }

    fn signed(&self, credentials: &Credentials, body: String) -> Result<Ask, StoreError> {
        let url = self.config.endpoint.clone();
        let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
        let failed = |_| {
            StoreError::new(
                error::FAILED,
                format!("a request to store `{}` cannot be signed", self.own.name),
                "check `endpoint` and `region`",
            )
        };
        let plain = [
            ("host", host.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.config.region)
            .name("secretsmanager")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| failed(()))?
            .into();
        let request =
            SignableRequest::new("POST", url.as_str(), plain.into_iter(), SignableBody::Bytes(body.as_bytes()))
                .map_err(|_| failed(()))?;
        // The signer logs what it signs and the access key's id: not through this host's log.
        let silence = tracing::subscriber::NoSubscriber::default();
        let signed = tracing::subscriber::with_default(silence, || sign(request, &parameters));
        let (instructions, _signature) = signed.map_err(|_| failed(()))?.into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in plain.into_iter().chain(instructions.headers()) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| failed(()))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| failed(()))?;
            value.set_sensitive(name != HOST);
            headers.insert(name, value);
        }
        Ok(Ask { method: Method::POST, url, headers, body: Bytes::from(body), timeout: ANSWER })
    }

    fn value(&self, answer: &Answer, what: &str) -> Result<Raw, StoreError> {
        let strange = |why: &str| {
            StoreError::new(
                error::FAILED,
                format!("store `{}` answers for {what} as Secrets Manager does not: {why}", self.own.name),
                "check `endpoint`",
            )
        };
        // The parser's error is left out: it may quote what it could not read.
        let parsed = serde_json::from_slice::<Value>(&answer.body);
        let mut value = parsed.map_err(|_| strange("something that is not JSON"))?;
        let found = if let Some(text) = value.get("SecretString").and_then(Value::as_str) {
            Ok(SecretValue::new(text.as_bytes()))
        } else if let Some(text) = value.get("SecretBinary").and_then(Value::as_str) {
            BASE64_STANDARD.decode(text).map(SecretValue::new).map_err(|_| strange("a binary that is not base64"))
        } else {
            Err(strange("neither a string nor a binary"))
        };
        wipe(&mut value);
        found.map(Raw::Value)
    }

    fn explain(&self, answer: &Answer, what: &str) -> StoreError {
        let name = &self.own.name;
        let (code, said) = failure(answer);
        let shown = match (code.as_str(), said.as_str()) {
            ("", "") => format!("status {}", answer.status),
            ("", said) => format!("status {}: {}", answer.status, quoted(&self.own.redactor, said)),
            (code, "") => quoted(&self.own.redactor, code),
            (code, said) => quoted(&self.own.redactor, &format!("{code}: {said}")),
        };
        match code.as_str() {
            "ResourceNotFoundException" => StoreError::new(
                error::MISSING,
                format!("{what} is not there in {} ({shown})", self.config.region),
                "check the key, `region`, `stage` and `version`: `aws secretsmanager list-secrets`",
            ),
            "InvalidRequestException" if said.contains("delet") => StoreError::new(
                error::DELETED,
                format!("{what} is marked for deletion ({shown})"),
                "bring it back: `aws secretsmanager restore-secret --secret-id …`",
            ),
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired" => StoreError::new(
                error::CREDENTIALS,
                format!("store `{name}` refuses the access key ({shown})"),
                "check the access key, its `sessionToken` if it is a temporary one, and this machine's clock",
            ),
            "DecryptionFailure" => StoreError::new(
                error::DENIED,
                format!("the key that encrypts {what} cannot be used ({shown})"),
                "allow the access key's user `kms:Decrypt` for the secret's KMS key, and check that it is enabled",
            ),
            code if code.starts_with("AccessDenied") || matches!(answer.status, 401 | 403) => StoreError::new(
                error::DENIED,
                format!("store `{name}` does not give {what} to this access key ({shown})"),
                "allow its user `secretsmanager:GetSecretValue` for this secret, and check the access key",
            ),
            _ if passing(answer) == Again::Yes => StoreError::new(
                error::UNAVAILABLE,
                format!("store `{name}` cannot answer now ({shown})"),
                "wait, and try again",
            ),
            _ => StoreError::new(
                error::FAILED,
                format!("store `{name}` does not give {what} ({shown})"),
                "check the key, `stage` and `version`",
            ),
        }
    }
}

/// The error's code without its namespace, and its message; empty where there is none.
/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
fn failure(answer: &Answer) -> (String, String) {
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |keys: [&str; 2]| keys.into_iter().find_map(|key| value.get(key)?.as_str()).unwrap_or_default();
    let header = answer.headers.get("x-amzn-errortype").and_then(|header| header.to_str().ok());
    let code = header.unwrap_or_else(|| text(["__type", "code"]));
    let code = code.rsplit('#').next().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    (code.to_owned(), text(["message", "Message"]).to_owned())
}

/// What may be over in a moment: throttling, and failures of the service itself.
fn passing(answer: &Answer) -> Again {
    let (code, _) = failure(answer);
    let throttled = matches!(
        code.as_str(),
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" | "SlowDown"
    );
    if throttled || matches!(answer.status, 429 | 500 | 502 | 503 | 504) { Again::Yes } else { Again::No }
}
