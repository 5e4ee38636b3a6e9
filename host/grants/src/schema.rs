//! The JSON Schema of `grants`, for editors and for `basb-host schema`. What is accepted is decided in `parse`; a test
//! holds the two together.

#![expect(dead_code, reason = "these types are read by schemars only")]

use schemars::{JsonSchema, Schema, schema_for};

/// What the plugin may do; nothing that is not listed.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Grants {
    /// HTTP requests.
    http: Option<Vec<Http>>,
    /// TCP exchanges.
    tcp: Option<Vec<Tcp>>,
    /// Files in folders.
    files: Option<Vec<Folder>>,
    /// Programs.
    exec: Option<Vec<Program>>,
    /// Mail through servers.
    smtp: Option<Vec<Server>>,
}

/// Where HTTP requests may go.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Http {
    /// To a host.
    Host(HttpHost),
    /// To a unix socket, by its name.
    Socket(HttpSocket),
    /// To a container engine.
    Engine(HttpEngine),
    /// To the service that the call is about.
    Target(HttpService),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpHost {
    /// A name, `*.example.com` for one label in front of it, `**.example.com` for any number, or an IP address.
    host: String,
    /// `https` unless `http` is written.
    scheme: Option<SchemeWord>,
    /// The scheme's own unless written.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// `[GET, HEAD]` unless written.
    #[schemars(length(min = 1))]
    methods: Option<Vec<Method>>,
    /// `*` stays within a segment, `**` does not; `/**` unless written.
    path: Option<PathText>,
    /// AWS actions: only requests with one of these, in `X-Amz-Target` or in the parameter `Action`, are covered.
    #[schemars(length(min = 1))]
    actions: Option<Vec<Action>>,
    /// Methods, paths or AWS actions of requests that only read, so that they pass during `plan`.
    reads: Option<Vec<Read>>,
    /// Whether the name may lead to private addresses.
    resolves: Option<ResolvesWord>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpSocket {
    /// The socket's name; `agent` is the one-machine cloud.
    #[schemars(regex(pattern = "^[a-z0-9-]+$"))]
    socket: String,
    /// Where it is, absolute; not for `agent`.
    at: Option<PlainPath>,
    /// `[GET, HEAD]` unless written.
    #[schemars(length(min = 1))]
    methods: Option<Vec<Method>>,
    /// `/**` unless written.
    path: Option<PathText>,
    /// As for a host.
    #[schemars(length(min = 1))]
    actions: Option<Vec<Action>>,
    /// Methods, paths, AWS actions or query parameters of requests that only read.
    reads: Option<Vec<Read>>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpEngine {
    /// The socket's name.
    #[schemars(regex(pattern = "^[a-z0-9-]+$"))]
    socket: String,
    /// Where it is, absolute.
    at: PlainPath,
    /// Only these operations on these containers.
    containers: Containers,
}

/// Operations on containers, judged by their bodies. What is not written is not allowed.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Containers {
    /// Patterns of the names of the containers that may be made, looked at, started, stopped and removed.
    #[schemars(length(min = 1))]
    names: Vec<String>,
    /// Patterns of the images that they may be made of.
    #[schemars(length(min = 1))]
    images: Vec<String>,
    /// What of the machine they may share.
    allow: Option<Vec<PrivilegeWord>>,
    /// Files and folders of the machine that they may see: exactly these.
    binds: Option<Vec<Bind>>,
    /// Named volumes that they may use.
    volumes: Option<Vec<VolumeName>>,
    /// Linux capabilities that they may have beyond the engine's own set.
    capabilities: Option<Vec<CapabilityName>>,
    /// Devices of the machine that they may use.
    devices: Option<Vec<PlainPath>>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bind {
    /// Absolute.
    path: PlainPath,
    /// What they may do with it.
    access: AccessWord,
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PrivilegeWord {
    HostNetwork,
    HostPid,
    Privileged,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct PlainPath(#[schemars(regex(pattern = "^/([^/]+(/[^/]+)*)?$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct VolumeName(#[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct CapabilityName(#[schemars(regex(pattern = "^[A-Z_]+$"))] String);

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpService {
    /// The origin of the URL that the host gives to the call.
    target: TargetWord,
    /// `[GET, HEAD]` unless written.
    #[schemars(length(min = 1))]
    methods: Option<Vec<Method>>,
    /// `/**` unless written.
    path: Option<PathText>,
    /// As for a host.
    #[schemars(length(min = 1))]
    actions: Option<Vec<Action>>,
    /// Methods, paths, AWS actions or query parameters of requests that only read.
    reads: Option<Vec<Read>>,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct Method(#[schemars(regex(pattern = "^[A-Z-]+$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct PathText(#[schemars(regex(pattern = "^/"))] String);

/// `Describe*`, or with the service in front: `AmazonEC2ContainerServiceV20141113.Describe*`.
#[derive(JsonSchema)]
#[serde(transparent)]
struct Action(#[schemars(regex(pattern = "^[A-Za-z0-9_.*?-]{1,200}$"))] String);

/// A class of requests that only read.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Read {
    /// A method, or a path that begins with `/`.
    Text(#[schemars(regex(pattern = "^([A-Z-]+$|/)"))] String),
    /// AWS actions.
    Action(ReadAction),
    /// A parameter of the query.
    Query(ReadQuery),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadAction {
    action: Action,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadQuery {
    /// The parameter with its value, as it stands in the URL: `dryRun=All`.
    #[schemars(regex(pattern = "^[A-Za-z0-9._~-]{1,100}=[A-Za-z0-9._~-]{1,100}$"))]
    query: String,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SchemeWord {
    Https,
    Http,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ResolvesWord {
    Public,
    Private,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TargetWord {
    Service,
}

/// Where a TCP exchange may go.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Tcp {
    /// To a host.
    Host(TcpHost),
    /// To the service that the call is about.
    Target(TcpService),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct TcpHost {
    /// As for `http`.
    host: String,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
    /// Whether the name may lead to private addresses.
    resolves: Option<ResolvesWord>,
    /// Whether it only reads, so that it may happen during `plan`.
    effect: Option<EffectWord>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct TcpService {
    /// Host and port of the URL that the host gives to the call.
    target: TargetWord,
    /// Whether it only reads, so that it may happen during `plan`.
    effect: Option<EffectWord>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Folder {
    /// The name that the plugin uses.
    #[schemars(length(min = 1))]
    folder: String,
    /// Relative to the deployment file.
    #[schemars(length(min = 1))]
    path: String,
    /// What may be done in it.
    access: AccessWord,
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum AccessWord {
    Read,
    ReadWrite,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Program {
    /// The name that the plugin uses; several entries of one name are alternatives.
    #[schemars(length(min = 1))]
    program: String,
    /// Absolute.
    #[schemars(regex(pattern = "^/"))]
    path: String,
    /// The digest that the file must have.
    #[schemars(regex(pattern = "^(sha256:)?[0-9a-f]{64}$"))]
    sha256: Option<String>,
    /// One pattern for each argument, in order; a last `**` stands for any number of further ones.
    args: Option<Vec<String>>,
    /// Variables that the plugin may set.
    env: Option<Vec<EnvName>>,
    /// The folder that it starts in, relative to the deployment file, whose own folder it is unless written.
    #[schemars(length(min = 1))]
    folder: Option<String>,
    /// Whether it only reads, so that it may run during `plan`.
    effect: Option<EffectWord>,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct EnvName(#[schemars(regex(pattern = "^[A-Za-z0-9_]+$"))] String);

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum EffectWord {
    Read,
    Change,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Server {
    /// The name that the plugin uses.
    #[schemars(length(min = 1))]
    server: String,
    /// As for `http`.
    host: String,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
    /// Whether the name may lead to private addresses.
    resolves: Option<ResolvesWord>,
    /// Senders; all unless written.
    from: Option<Vec<String>>,
    /// Recipients; all unless written.
    to: Option<Vec<String>>,
    /// `implicit` on port 465 and `starttls` on every other unless written.
    tls: Option<TlsWord>,
    /// The name of a credential of the kind `basic` that is bound to this server.
    login: Option<CredentialWord>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TlsWord {
    None,
    Starttls,
    Implicit,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct CredentialWord(#[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))] String);

/// The JSON Schema of `grants`.
#[must_use]
pub fn grants_schema() -> Schema {
    let mut schema = schema_for!(Grants);
    // `grants:` with nothing under it grants nothing.
    schema.insert("type".to_owned(), serde_json::json!(["object", "null"]));
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    fn engine(containers: serde_json::Value) -> serde_json::Value {
        json!({"http": [{"socket": "docker", "at": "/var/run/docker.sock", "containers": containers}]})
    }

    #[test]
    fn the_schema_and_the_parser_agree() {
        let schema = serde_json::to_value(super::grants_schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let cases = [
            json!(null),
            json!({}),
            json!({"http": [{"host": "a.example"}]}),
            json!({"http": [{"host": "a.example", "scheme": "http", "port": 80, "methods": ["GET"], "path": "/", "reads": ["POST"], "resolves": "private"}]}),
            json!({"http": [{"socket": "agent", "methods": ["PUT"], "path": "/v1/**"}, {"target": "service"}]}),
            json!({"tcp": [{"host": "a.example", "port": 1}, {"target": "service"}]}),
            json!({"files": [{"folder": "v", "path": "./v", "access": "read"}]}),
            json!({"exec": [{"program": "x", "path": "/x", "args": ["a", "**"], "env": ["A"], "effect": "read"}]}),
            json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "from": ["*"], "to": []}]}),
            json!({"http": [{"host": "a.example", "actions": ["Describe*", "Svc_1.Get?"], "reads": ["/x", {"action": "Describe*"}]}]}),
            json!({"http": [{"socket": "agent", "actions": ["X"]}, {"target": "service", "reads": [{"action": "X"}]}]}),
            json!({"tcp": [{"host": "a.example", "port": 1, "effect": "read"}, {"target": "service", "effect": "change"}]}),
            json!({"exec": [{"program": "x", "path": "/x", "folder": "./y"}]}),
            json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "tls": "none"}]}),
            json!({"smtp": [{"server": "s", "host": "m.example", "port": 465, "tls": "implicit", "login": "mail-1"}]}),
            json!({"http": [{"host": "a.example", "actions": []}]}),
            json!({"http": [{"host": "a.example", "actions": ["a b"]}]}),
            json!({"http": [{"host": "a.example", "actions": "X"}]}),
            json!({"http": [{"host": "a.example", "reads": [{"act": "x"}]}]}),
            json!({"http": [{"host": "a.example", "reads": [{}]}]}),
            json!({"http": [{"host": "a.example", "reads": [{"query": "dryRun=All"}]}]}),
            json!({"http": [{"host": "a.example", "reads": [{"query": "dryRun"}]}]}),
            json!({"http": [{"host": "a.example", "reads": [{"query": "dry*=All"}]}]}),
            json!({"http": [{"host": "a.example", "reads": [{"query": "a=b", "action": "X"}]}]}),
            json!({"http": [{"host": "a.example", "reads": ["post"]}]}),
            json!({"tcp": [{"target": "service", "effect": "none"}]}),
            json!({"exec": [{"program": "x", "path": "/x", "folder": ""}]}),
            json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "tls": "off"}]}),
            json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "login": "My Mail"}]}),
            json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "login": "-a"}]}),
            json!({"http": [{"host": "a.example", "x": 1}]}),
            json!({"http": [{"host": "a.example", "socket": "b"}]}),
            json!({"http": [{"host": "a.example", "methods": ["get"]}]}),
            json!({"http": [{"host": "a.example", "methods": []}]}),
            json!({"http": [{"host": "a.example", "path": "x"}]}),
            json!({"http": [{}]}),
            json!({"http": {}}),
            json!({"tcp": [{"host": "a.example"}]}),
            json!({"tcp": [{"host": "a.example", "port": 0}]}),
            json!({"tcp": [{"target": "other"}]}),
            json!({"files": [{"folder": "v", "path": "./v"}]}),
            json!({"files": [{"folder": "", "path": "./v", "access": "read"}]}),
            json!({"exec": [{"program": "x", "path": "x"}]}),
            json!({"exec": [{"program": "x", "path": "/x", "sha256": "1"}]}),
            json!({"http": [{"socket": "docker", "at": "/var/run/docker.sock", "methods": ["GET"]}]}),
            json!({"http": [{"socket": "docker", "at": "docker.sock"}]}),
            json!({"http": [{"host": "a.example", "at": "/x"}]}),
            engine(json!({"names": ["a-*"], "images": ["*"]})),
            engine(json!({"names": ["a"], "images": ["b"], "allow": ["host-network", "host-pid", "privileged"],
                "binds": [{"path": "/srv/v", "access": "read"}, {"path": "/", "access": "read-write"}],
                "volumes": ["v"], "capabilities": ["CAP_NET_RAW"], "devices": ["/dev/fuse"]})),
            engine(json!({"names": ["a"]})),
            engine(json!({"names": [], "images": ["b"]})),
            engine(json!({"names": ["a"], "images": ["b"], "allow": ["anything"]})),
            engine(json!({"names": ["a"], "images": ["b"], "binds": [{"path": "x", "access": "read"}]})),
            engine(json!({"names": ["a"], "images": ["b"], "binds": [{"path": "/x"}]})),
            engine(json!({"names": ["a"], "images": ["b"], "binds": ["/x:/x"]})),
            engine(json!({"names": ["a"], "images": ["b"], "volumes": ["/x"]})),
            engine(json!({"names": ["a"], "images": ["b"], "capabilities": ["net_raw"]})),
            engine(json!({"names": ["a"], "images": ["b"], "devices": ["/dev/"]})),
            engine(json!({"names": ["a"], "images": ["b"], "more": 1})),
            engine(json!([])),
            json!({"http": [{"socket": "docker", "containers": {"names": ["a"], "images": ["b"]}}]}),
            json!({"http": [{"socket": "docker", "at": "/x", "path": "/**", "containers": {"names": ["a"], "images": ["b"]}}]}),
            json!({"log": []}),
            json!({"nope": []}),
            json!([]),
        ];
        for case in cases {
            assert_eq!(validator.is_valid(&case), super::super::Grants::parse(&case).is_ok(), "{case}");
        }
    }
}
