//! The JSON Schema of `credentials`, for editors and for `basb-host schema`. What is accepted is decided in `parse`; a
//! test holds the two together.

#![expect(dead_code, reason = "these types are read by schemars only")]

use schemars::{JsonSchema, Schema, schema_for};
use std::collections::BTreeMap;

/// The credentials, by name: what the host adds to requests, and for which destinations.
#[derive(JsonSchema)]
#[serde(transparent)]
struct Credentials(BTreeMap<Name, Credential>);

/// A name: 1 to 63 of a–z, 0–9 and inner `-`.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name(#[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))] String);

/// What the credential does; exactly one key beside `to`.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Credential {
    /// Signs with AWS Signature Version 4.
    AwsSigv4(AwsSigv4Entry),
    /// Adds a token of a Google service account.
    GcpServiceAccount(GcpServiceAccountEntry),
    /// Adds a token of the machine's own Google service account.
    GcpMetadata(GcpMetadataEntry),
    /// Adds a token of a Microsoft Entra application.
    AzureClient(AzureClientEntry),
    /// Adds `Authorization: Bearer …`.
    Bearer(BearerEntry),
    /// Adds `Authorization: Basic …`.
    Basic(BasicEntry),
    /// Adds a header.
    Header(HeaderEntry),
    /// Shows a client certificate.
    Mtls(MtlsEntry),
    /// Says who vouches for whom is spoken to, in place of the system's authorities.
    Authority(AuthorityEntry),
    /// Puts the secret where `${secret.NAME}` stands in the request.
    Placeholder(PlaceholderEntry),
}

/// Where the credential may be used.
#[derive(JsonSchema)]
#[serde(transparent)]
struct To(#[schemars(length(min = 1))] Vec<Destination>);

#[derive(JsonSchema)]
#[serde(untagged)]
enum Destination {
    /// A host.
    Host(HostDestination),
    /// A unix socket that the host knows by name.
    Socket(SocketDestination),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HostDestination {
    /// A name, `*.example.com` for one label in front of it, `**.example.com` for any number, or an IP address.
    host: String,
    /// `https` unless `http` is written.
    scheme: Option<SchemeWord>,
    /// The scheme's own unless written.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct SocketDestination {
    /// The socket's name; `agent` is the one-machine cloud.
    #[schemars(regex(pattern = "^[a-z0-9-]+$"))]
    socket: String,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SchemeWord {
    Https,
    Http,
}

macro_rules! entry {
    ($name:ident, $field:ident: $type:ty, $doc:literal) => {
        #[derive(JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        struct $name {
            to: To,
            #[doc = $doc]
            $field: $type,
        }
    };
}

entry!(AwsSigv4Entry, aws_sigv4: AwsSigv4, "The keys to sign with.");
entry!(GcpServiceAccountEntry, gcp_service_account: GcpServiceAccount, "The service account.");
entry!(GcpMetadataEntry, gcp_metadata: GcpMetadata, "The service account.");
entry!(AzureClientEntry, azure_client: AzureClient, "The application.");
entry!(BearerEntry, bearer: Name, "The secret that holds the token.");
entry!(BasicEntry, basic: Basic, "User name and password.");
entry!(HeaderEntry, header: Header, "The header.");
entry!(MtlsEntry, mtls: Mtls, "Certificate and key.");
entry!(AuthorityEntry, authority: Name, "The secret that holds the authority's certificates, as PEM.");
entry!(PlaceholderEntry, placeholder: Name, "The secret.");

#[derive(JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AwsSigv4 {
    /// The secret that holds the access key id.
    access_key_id: Name,
    /// The secret that holds the secret access key.
    secret_access_key: Name,
    /// The secret that holds the session token of temporary keys.
    session_token: Option<Name>,
    /// Taken from the host name unless written.
    region: Option<Region>,
    /// The service's name in signatures; taken from the host name unless written.
    service: Option<Service>,
    /// A role to assume with these keys.
    assume_role: Option<AssumeRole>,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct Region(#[schemars(regex(pattern = "^[a-z0-9-]+$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct Service(#[schemars(regex(pattern = "^[A-Za-z0-9-]+$"))] String);

#[derive(JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AssumeRole {
    /// The role's ARN.
    #[schemars(regex(pattern = "^arn:\\S*:role/\\S*$"))]
    role_arn: String,
    /// Shown in AWS's own records; `basb-host` unless written.
    session_name: Option<SessionName>,
    /// What the role's trust policy asks for.
    external_id: Option<Text>,
    /// `15m` to `12h`; `1h` unless written.
    duration: Option<Text>,
    /// Where STS is; the region's own unless written.
    endpoint: Option<Endpoint>,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct SessionName(#[schemars(regex(pattern = "^[A-Za-z0-9_=,.@-]{2,64}$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct Text(#[schemars(length(min = 1))] String);

/// An absolute URL; `http` for this machine only.
#[derive(JsonSchema)]
#[serde(transparent)]
struct Endpoint(
    #[schemars(regex(pattern = "^https?://"))]
    String,
);

#[derive(JsonSchema)]
#[serde(transparent)]
struct Scope(#[schemars(regex(pattern = "^[!#-+\\--\\[\\]-~]+$"))] String);

#[derive(JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GcpServiceAccount {
    /// The secret that holds the JSON key file.
    key: Name,
    /// What the token may be used for.
    #[schemars(length(min = 1))]
    scopes: Vec<Scope>,
    /// Where tokens are had; what the key file says unless written.
    token_url: Option<Endpoint>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GcpMetadata {
    /// `default` unless written.
    account: Option<Account>,
    /// The machine's own unless written.
    #[schemars(length(min = 1))]
    scopes: Option<Vec<Scope>>,
    /// `http://metadata.google.internal` unless written.
    endpoint: Option<Endpoint>,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct Account(#[schemars(regex(pattern = "^[A-Za-z0-9@._-]+$"))] String);

#[derive(JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AzureClient {
    /// The directory's id or one of its domains.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]+$"))]
    tenant: String,
    /// The application's id.
    #[schemars(length(min = 1))]
    client_id: String,
    /// The secret that holds the client secret.
    client_secret: Name,
    /// `https://management.azure.com/.default` unless written.
    scope: Option<Text>,
    /// `https://login.microsoftonline.com` unless written.
    authority: Option<Endpoint>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Basic {
    /// Without a colon.
    #[schemars(regex(pattern = "^[^:\\x00-\\x1f\\x7f]+$"))]
    username: String,
    /// The secret that holds the password.
    password: Name,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Header {
    /// The header's name.
    #[schemars(regex(pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"))]
    name: String,
    /// The secret that holds its value.
    value: Name,
    /// What stands in front of the value.
    prefix: Option<Prefix>,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct Prefix(#[schemars(regex(pattern = "^[ -~]*$"))] String);

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mtls {
    /// The secret that holds the certificate chain, as PEM.
    certificate: Name,
    /// The secret that holds the private key, as PEM.
    key: Name,
}

/// The JSON Schema of `credentials`.
#[must_use]
pub fn credentials_schema() -> Schema {
    schema_for!(Credentials)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_schema_and_the_parser_agree() {
        let schema = serde_json::to_value(super::credentials_schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let to = json!([{"host": "a.example"}]);
        let aws_to = json!([{"host": "**.amazonaws.com"}]);
        let keys = json!({"accessKeyId": "i", "secretAccessKey": "k"});
        let mut role = keys.clone();
        role["assumeRole"] = json!({"roleArn": "arn:aws:iam::1:role/a", "sessionName": "ab", "externalId": "x", "duration": "15m", "endpoint": "https://sts.amazonaws.com"});
        let mut bad_role = keys.clone();
        bad_role["assumeRole"] = json!({"roleArn": "role"});
        let cases = [
            (true, json!({})),
            (true, json!({"a": {"to": to, "bearer": "t"}})),
            (
                true,
                json!({"a": {"to": [{"host": "a.example", "scheme": "http", "port": 80}, {"socket": "agent"}], "bearer": "t"}}),
            ),
            (true, json!({"a": {"to": aws_to, "awsSigv4": keys}})),
            (true, json!({"a": {"to": aws_to, "awsSigv4": role}})),
            (
                true,
                json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": ["https://a/b"], "tokenUrl": "https://t.example/"}}}),
            ),
            (true, json!({"a": {"to": to, "gcpMetadata": {}}})),
            (
                true,
                json!({"a": {"to": to, "gcpMetadata": {"account": "a@b.c", "scopes": ["x"], "endpoint": "http://127.0.0.1:1"}}}),
            ),
            (true, json!({"a": {"to": to, "azureClient": {"tenant": "t", "clientId": "c", "clientSecret": "s"}}})),
            (true, json!({"a": {"to": to, "basic": {"username": "u", "password": "p"}}})),
            (true, json!({"a": {"to": to, "header": {"name": "X-A", "value": "v", "prefix": "Token "}}})),
            (true, json!({"a": {"to": to, "mtls": {"certificate": "c", "key": "k"}}})),
            (true, json!({"a": {"to": to, "placeholder": "s"}})),
            (false, json!([])),
            (false, json!({"A": {"to": to, "bearer": "t"}})),
            (false, json!({"a": {"to": to}})),
            (false, json!({"a": {"bearer": "t"}})),
            (false, json!({"a": {"to": [], "bearer": "t"}})),
            (false, json!({"a": {"to": to, "bearer": ""}})),
            (false, json!({"a": {"to": to, "bearer": "t", "placeholder": "t"}})),
            (false, json!({"a": {"to": to, "bearer": "t", "x": 1}})),
            (false, json!({"a": {"to": [{"host": "a.example", "port": 0}], "bearer": "t"}})),
            (false, json!({"a": {"to": [{"host": "a.example", "socket": "b"}], "bearer": "t"}})),
            (false, json!({"a": {"to": [{"socket": "A"}], "bearer": "t"}})),
            (false, json!({"a": {"to": aws_to, "awsSigv4": {"accessKeyId": "i"}}})),
            (false, json!({"a": {"to": aws_to, "awsSigv4": bad_role}})),
            (false, json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": []}}})),
            (false, json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": ["a b"]}}})),
            (false, json!({"a": {"to": to, "gcpServiceAccount": {"key": "k", "scopes": ["a,b"]}}})),
            (false, json!({"a": {"to": to, "gcpMetadata": {"account": "a/b"}}})),
            (false, json!({"a": {"to": to, "azureClient": {"tenant": "t/", "clientId": "c", "clientSecret": "s"}}})),
            (false, json!({"a": {"to": to, "basic": {"username": "u:", "password": "p"}}})),
            (false, json!({"a": {"to": to, "header": {"name": "X A", "value": "v"}}})),
            (false, json!({"a": {"to": to, "header": {"name": "X-A", "value": "v", "prefix": "\n"}}})),
            (true, json!({"a": {"to": to, "authority": "ca"}})),
            (false, json!({"a": {"to": to, "authority": {"ca": "c"}}})),
            (false, json!({"a": {"to": to, "mtls": {"certificate": "c"}}})),
            (false, json!({"a": 3})),
        ];
        for (expected, case) in cases {
            let parsed = super::super::CredentialsConfig::parse(&case);
            assert_eq!(parsed.is_ok(), expected, "{case}: {parsed:?}");
            assert_eq!(validator.is_valid(&case), expected, "{case}");
        }
    }
}
