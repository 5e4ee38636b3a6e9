//! Reads grants from JSON, and says of everything that is wrong where it is and what to write instead.

mod containers;

use crate::Capability;
use crate::{
    Access, ActionPattern, Effect, FolderGrant, GrantProblem, Grants, HostPattern, HttpGrant, HttpTarget, MailTls,
    PathPattern, PatternError, ProgramGrant, QueryParameter, ReadRule, Resolves, Scheme, ServerGrant, TcpGrant,
    TextPattern,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What collects problems on the way.
#[derive(Default)]
struct Reader {
    problems: Vec<GrantProblem>,
}

pub(super) fn grants(value: &Value) -> Result<Grants, Vec<GrantProblem>> {
    let mut reader = Reader::default();
    let mut grants = Grants::default();
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (name, list) in map {
                let at = pointer("", name);
                match Capability::from_name(name) {
                    Some(Capability::Http) => grants.http = reader.list(&at, list, Reader::http),
                    Some(Capability::Tcp) => grants.tcp = reader.list(&at, list, Reader::tcp),
                    Some(Capability::Files) => grants.files = reader.list(&at, list, Reader::folder),
                    Some(Capability::Exec) => grants.exec = reader.list(&at, list, Reader::program),
                    Some(Capability::Smtp) => grants.smtp = reader.list(&at, list, Reader::server),
                    Some(Capability::Log) => reader.wrong(&at, "`log` needs no grant".to_owned(), "remove it"),
                    None => {
                        let known = ["http", "tcp", "files", "exec", "smtp"];
                        let help = suggest(name, &known).map_or_else(
                            || format!("known capabilities are {}", known.join(", ")),
                            |near| format!("did you mean `{near}`?"),
                        );
                        reader.wrong(&at, format!("unknown capability `{name}`"), &help);
                    }
                }
            }
        }
        other => reader.wrong(
            "",
            format!("grants are {}", kind(other)),
            "write a capability and a list, such as `http: [{host: api.example.com}]`",
        ),
    }
    reader.duplicates(&grants);
    if reader.problems.is_empty() { Ok(grants) } else { Err(reader.problems) }
}

/// Appends a key to a JSON pointer (RFC 6901).
fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The rules that all names of a deployment file have.
fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn suggest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .copied()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(d, _)| *d <= 2)
        .min()
        .map(|(_, k)| k)
}

impl Reader {
    fn wrong(&mut self, at: &str, message: String, help: &str) {
        self.problems.push(GrantProblem { pointer: at.to_owned(), message, help: help.to_owned() });
    }

    fn list<T>(
        &mut self,
        at: &str,
        value: &Value,
        read: fn(&mut Self, &str, &Map<String, Value>) -> Option<T>,
    ) -> Vec<T> {
        let Value::Array(items) = value else {
            self.wrong(at, format!("this is {}", kind(value)), "write a list: each entry begins with `- `");
            return Vec::new();
        };
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}/{index}");
            match item {
                Value::Object(map) => out.extend(read(self, &at, map)),
                other => self.wrong(
                    &at,
                    format!("this is {}", kind(other)),
                    "write a mapping, such as `- host: api.example.com`",
                ),
            }
        }
        out
    }

    /// Everything in `map` that is not in `known` is wrong.
    fn only(&mut self, at: &str, map: &Map<String, Value>, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let help = suggest(key, known).map_or_else(
                || format!("possible here: {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.wrong(&pointer(at, key), format!("unknown key `{key}`"), &help);
        }
    }

    fn text<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
        match map.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            Some(Value::String(_)) => {
                self.wrong(&pointer(at, key), format!("`{key}` is empty"), "write a value or remove the key");
                None
            }
            Some(other) => {
                let help = format!("put it in quotes: `{key}: \"…\"`");
                self.wrong(&pointer(at, key), format!("`{key}` is {}, but must be text", kind(other)), &help);
                None
            }
            None => None,
        }
    }

    fn required<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str, example: &str) -> Option<&'a str> {
        if !map.contains_key(key) {
            self.wrong(at, format!("`{key}` is missing"), &format!("add `{key}: {example}`"));
        }
        self.text(at, map, key)
    }

    fn texts<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str) -> Option<Vec<(String, &'a str)>> {
        let at = pointer(at, key);
        match map.get(key)? {
            Value::Array(items) => {
                let mut out = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{at}/{index}");
                    match item {
                        Value::String(text) => out.push((at, text.as_str())),
                        other => {
                            self.wrong(&at, format!("this is {}, but must be text", kind(other)), "put it in quotes")
                        }
                    }
                }
                Some(out)
            }
            other => {
                self.wrong(
                    &at,
                    format!("`{key}` is {}", kind(other)),
                    &format!("write a list: `{key}: [first, second]`"),
                );
                None
            }
        }
    }

    fn word<T: Copy>(&mut self, at: &str, map: &Map<String, Value>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(at, map, key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.wrong(
                &pointer(at, key),
                format!("`{text}` is not a value of `{key}`"),
                &format!("write {}", known.join(" or ")),
            );
        }
        found
    }

    fn port(&mut self, at: &str, map: &Map<String, Value>) -> Option<u16> {
        let value = map.get("port")?;
        let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        if port.is_none() {
            self.wrong(&pointer(at, "port"), format!("`{value}` is not a port"), "write a number from 1 to 65535");
        }
        port
    }

    fn pattern<T>(&mut self, at: &str, parsed: Result<T, PatternError>) -> Option<T> {
        parsed.map_err(|error| self.wrong(at, error.message, &error.help)).ok()
    }

    fn host(&mut self, at: &str, map: &Map<String, Value>) -> Option<HostPattern> {
        let text = self.required(at, map, "host", "api.example.com")?;
        self.pattern(&pointer(at, "host"), HostPattern::parse(text))
    }

    fn resolves(&mut self, at: &str, map: &Map<String, Value>) -> Resolves {
        self.word(at, map, "resolves", &[("public", Resolves::Public), ("private", Resolves::Private)])
            .unwrap_or_default()
    }

    fn service(&mut self, at: &str, map: &Map<String, Value>) -> Option<()> {
        self.word(at, map, "target", &[("service", ())])
    }

    fn method(&mut self, at: &str, text: &str) -> Option<String> {
        let token = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if token && !matches!(text, "CONNECT" | "TRACE") {
            return Some(text.to_owned());
        }
        let help = match text.to_ascii_uppercase().as_str() {
            "*" | "ANY" | "ALL" => "name each method, such as `[GET, POST]`".to_owned(),
            upper if token || matches!(upper, "CONNECT" | "TRACE") => "CONNECT and TRACE cannot be granted".to_owned(),
            upper => format!("write `{upper}`"),
        };
        self.wrong(at, format!("`{text}` is not a method that can be granted"), &help);
        None
    }

    fn action(&mut self, at: &str, text: &str) -> Option<ActionPattern> {
        self.pattern(at, ActionPattern::parse(text))
    }

    /// Methods and paths in text, `{ action: … }` and `{ query: … }`.
    fn reads(&mut self, at: &str, map: &Map<String, Value>) -> Vec<ReadRule> {
        let at = pointer(at, "reads");
        let items = match map.get("reads") {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong(&at, format!("`reads` is {}", kind(other)), "write a list: `reads: [/v1/query, POST]`");
                return Vec::new();
            }
        };
        let mut rules = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}/{index}");
            match item {
                Value::String(text) if text.starts_with('/') => {
                    rules.extend(self.pattern(&at, PathPattern::parse(text)).map(ReadRule::Path));
                }
                Value::String(text) => rules.extend(self.method(&at, text).map(ReadRule::Method)),
                Value::Object(map) if map.contains_key("query") => {
                    self.only(&at, map, &["query"]);
                    if let Some(text) = self.text(&at, map, "query") {
                        let at = pointer(&at, "query");
                        rules.extend(self.pattern(&at, QueryParameter::parse(text)).map(ReadRule::Query));
                    }
                }
                Value::Object(map) => {
                    self.only(&at, map, &["action"]);
                    if let Some(text) = self.required(&at, map, "action", "Describe*") {
                        rules.extend(self.action(&pointer(&at, "action"), text).map(ReadRule::Action));
                    }
                }
                other => {
                    let help = "write a method, a path, `{ action: Describe* }` or `{ query: dryRun=All }`";
                    self.wrong(&at, format!("this is {}", kind(other)), help);
                }
            }
        }
        rules
    }

    fn effect(&mut self, at: &str, map: &Map<String, Value>) -> Effect {
        self.word(at, map, "effect", &[("read", Effect::Read), ("change", Effect::Change)]).unwrap_or_default()
    }

    fn http(&mut self, at: &str, map: &Map<String, Value>) -> Option<HttpGrant> {
        let kinds: Vec<_> = ["host", "socket", "target"].into_iter().filter(|key| map.contains_key(*key)).collect();
        let to = match kinds.as_slice() {
            ["socket"] => {
                let engine = map.contains_key("containers");
                let keys: &[&str] = if engine {
                    // What may be asked of it is in `containers`.
                    &["socket", "at", "containers"]
                } else {
                    &["socket", "at", "methods", "path", "actions", "reads"]
                };
                self.only(at, map, keys);
                let name = self.text(at, map, "socket")?;
                if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
                    self.wrong(
                        &pointer(at, "socket"),
                        format!("`{name}` is not the name of a socket"),
                        "write `socket: agent`",
                    );
                    return None;
                }
                let path = self.text(at, map, "at");
                if name == "agent" && (path.is_some() || engine) {
                    let help = "remove the key, or give the socket another name";
                    self.wrong(at, "`agent` is the one-machine cloud, whose socket the host knows".to_owned(), help);
                }
                if path.is_some_and(|path| !containers::is_plain_path(path)) {
                    let help = "write the whole path, such as `/var/run/docker.sock`";
                    self.wrong(&pointer(at, "at"), "the path of the socket is not absolute and plain".to_owned(), help);
                }
                if engine && path.is_none() {
                    self.wrong(at, "`at` is missing".to_owned(), "add `at: /var/run/docker.sock`");
                }
                HttpTarget::Socket { name: name.to_owned(), at: path.map(PathBuf::from) }
            }
            ["target"] => {
                self.only(at, map, &["target", "methods", "path", "actions", "reads"]);
                self.service(at, map)?;
                HttpTarget::Service
            }
            ["host"] => {
                self.only(at, map, &["host", "scheme", "port", "methods", "path", "actions", "reads", "resolves"]);
                let host = self.host(at, map);
                let scheme = self
                    .word(at, map, "scheme", &[("https", Scheme::Https), ("http", Scheme::Http)])
                    .unwrap_or(Scheme::Https);
                let port = self.port(at, map).unwrap_or(scheme.default_port());
                HttpTarget::Host { host: host?, scheme, port, resolves: self.resolves(at, map) }
            }
            _ => {
                let help = "write exactly one of `host: api.example.com`, `socket: agent` and `target: service`";
                self.wrong(at, "it is not clear where the requests may go".to_owned(), help);
                return None;
            }
        };
        let containers = match map.get("containers") {
            None => None,
            Some(value) => Some(self.containers(&pointer(at, "containers"), value)?),
        };
        let mut methods = BTreeSet::new();
        match self.texts(at, map, "methods") {
            Some(list) => {
                if list.is_empty() {
                    self.wrong(
                        &pointer(at, "methods"),
                        "`methods` is empty".to_owned(),
                        "write `[GET]` or remove the entry",
                    );
                }
                for (at, text) in list {
                    methods.extend(self.method(&at, text));
                }
            }
            None => methods.extend(["GET".to_owned(), "HEAD".to_owned()]),
        }
        if containers.is_some() {
            methods.extend(["POST".to_owned(), "DELETE".to_owned()]);
        }
        let path = self.text(at, map, "path").unwrap_or("/**");
        let path = self.pattern(&pointer(at, "path"), PathPattern::parse(path));
        let mut actions = Vec::new();
        if let Some(list) = self.texts(at, map, "actions") {
            if list.is_empty() {
                let help = "write `[Describe*]`, or remove the key: then the action does not matter";
                self.wrong(&pointer(at, "actions"), "`actions` is empty".to_owned(), help);
            }
            for (at, text) in list {
                actions.extend(self.action(&at, text));
            }
        }
        let reads = self.reads(at, map);
        Some(HttpGrant { to, methods, path: path?, actions, reads, containers })
    }

    fn tcp(&mut self, at: &str, map: &Map<String, Value>) -> Option<TcpGrant> {
        if map.contains_key("target") {
            self.only(at, map, &["target", "effect"]);
            self.service(at, map)?;
            return Some(TcpGrant::Service { effect: self.effect(at, map) });
        }
        self.only(at, map, &["host", "port", "resolves", "effect"]);
        let host = self.host(at, map);
        if !map.contains_key("port") {
            self.wrong(at, "`port` is missing".to_owned(), "add `port: 5432`");
        }
        let effect = self.effect(at, map);
        Some(TcpGrant::Host { port: self.port(at, map)?, resolves: self.resolves(at, map), host: host?, effect })
    }

    fn folder(&mut self, at: &str, map: &Map<String, Value>) -> Option<FolderGrant> {
        self.only(at, map, &["folder", "path", "access"]);
        let folder = self.required(at, map, "folder", "vault");
        let path = self.required(at, map, "path", "./vault");
        if !map.contains_key("access") {
            self.wrong(at, "`access` is missing".to_owned(), "add `access: read` or `access: read-write`");
        }
        let access = self.word(at, map, "access", &[("read", Access::Read), ("read-write", Access::ReadWrite)]);
        Some(FolderGrant { folder: folder?.to_owned(), path: PathBuf::from(path?), access: access? })
    }

    fn program(&mut self, at: &str, map: &Map<String, Value>) -> Option<ProgramGrant> {
        self.only(at, map, &["program", "path", "sha256", "args", "env", "folder", "effect"]);
        let program = self.required(at, map, "program", "tofu");
        let path = self.required(at, map, "path", "/usr/bin/tofu");
        if path.is_some_and(|path| !path.starts_with('/')) {
            self.wrong(
                &pointer(at, "path"),
                "the program's path is not absolute".to_owned(),
                "begin it with `/`: no search path is used",
            );
        }
        let sha256 = self.text(at, map, "sha256").map(|text| text.strip_prefix("sha256:").unwrap_or(text));
        if sha256.is_some_and(|hex| {
            hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }) {
            let help = "write the 64 lower-case hexadecimal digits that `sha256sum` prints";
            self.wrong(&pointer(at, "sha256"), "this is not a SHA-256 digest".to_owned(), help);
        }
        let mut args = Vec::new();
        for (at, text) in self.texts(at, map, "args").unwrap_or_default() {
            args.extend(self.pattern(&at, TextPattern::parse(text)));
        }
        let mut env = BTreeSet::new();
        for (at, text) in self.texts(at, map, "env").unwrap_or_default() {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                self.wrong(
                    &at,
                    format!("`{text}` is not the name of a variable"),
                    "use letters, digits and `_`, without a value",
                );
            }
            env.insert(text.to_owned());
        }
        let effect = self.effect(at, map);
        let folder = self.text(at, map, "folder").map(PathBuf::from);
        let (program, path, sha256) = (program?.to_owned(), PathBuf::from(path?), sha256.map(str::to_owned));
        Some(ProgramGrant { program, path, sha256, args, env, folder, effect })
    }

    fn server(&mut self, at: &str, map: &Map<String, Value>) -> Option<ServerGrant> {
        self.only(at, map, &["server", "host", "port", "resolves", "from", "to", "tls", "login"]);
        let server = self.required(at, map, "server", "office");
        let host = self.host(at, map);
        if !map.contains_key("port") {
            self.wrong(at, "`port` is missing".to_owned(), "add `port: 587`");
        }
        let port = self.port(at, map);
        let words = [("none", MailTls::None), ("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit)];
        let tls = self.word(at, map, "tls", &words);
        let login = self.text(at, map, "login");
        if let Some(login) = login
            && !is_name(login)
        {
            let help = "write the name of a credential of the kind `basic`: 1 to 63 of a-z, 0-9 and inner `-`";
            self.wrong(&pointer(at, "login"), format!("`{login}` is not the name of a credential"), help);
        }
        if login.is_some() && tls == Some(MailTls::None) {
            let help = "write `tls: starttls` or `tls: implicit`, or remove `login`";
            self.wrong(&pointer(at, "login"), "a password is never sent in the clear".to_owned(), help);
        }
        let mut lists = [Vec::new(), Vec::new()];
        for (key, list) in ["from", "to"].into_iter().zip(&mut lists) {
            for (at, text) in self.texts(at, map, key).unwrap_or_default() {
                list.extend(self.pattern(&at, TextPattern::parse(text)));
            }
        }
        let [from, to] = lists;
        Some(ServerGrant {
            server: server?.to_owned(),
            host: host?,
            port: port?,
            resolves: self.resolves(at, map),
            from,
            to,
            tls: tls.unwrap_or(MailTls::of_port(port?)),
            login: login.map(str::to_owned),
        })
    }

    /// Two folders or two servers of one name would leave open which one is meant.
    fn duplicates(&mut self, grants: &Grants) {
        let folders = grants.files.iter().map(|grant| &grant.folder);
        let servers = grants.smtp.iter().map(|grant| &grant.server);
        for (list, names) in [("files", folders.collect::<Vec<_>>()), ("smtp", servers.collect())] {
            let mut seen = BTreeSet::new();
            for (index, name) in names.into_iter().enumerate() {
                if !seen.insert(name) {
                    self.wrong(
                        &format!("/{list}/{index}"),
                        format!("`{name}` is there twice"),
                        "give each one a name of its own",
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(value: Value) -> Vec<(String, String)> {
        grants(&value).unwrap_err().into_iter().map(|p| (p.pointer, format!("{}: {}", p.message, p.help))).collect()
    }

    fn engine(containers: Value, at: &str) -> Value {
        json!({"http": [{"socket": "docker", "at": at, "containers": containers}]})
    }

    #[test]
    fn every_form_is_read() {
        let read = grants(&json!({
            "http": [
                {"host": "api.example.com"},
                {"host": "127.0.0.1", "scheme": "http", "port": 8080, "methods": ["POST"], "path": "/v1/**", "reads": ["/v1/query", "POST"]},
                {"host": "ci.corp.example", "resolves": "private"},
                {"socket": "agent", "methods": ["GET", "PUT"], "path": "/v1/**"},
                {"host": "ecs.eu-central-1.amazonaws.com", "methods": ["POST"], "actions": ["DescribeServices", "AmazonEC2ContainerServiceV20141113.Update*"], "reads": [{"action": "Describe*"}, {"query": "dryRun=All"}]},
                {"target": "service"},
                {"socket": "docker", "at": "/var/run/docker.sock", "containers": {"names": ["brain-*"], "images": ["brain:*"],
                  "allow": ["host-network"], "binds": [{"path": "/srv/vault", "access": "read-write"}],
                  "volumes": ["cache"], "capabilities": ["CAP_NET_RAW"], "devices": ["/dev/fuse"]}}],
            "tcp": [{"host": "db.example.com", "port": 5432}, {"target": "service"}],
            "files": [{"folder": "vault", "path": "./vault", "access": "read-write"}],
            "exec": [{"program": "tofu", "path": "/usr/bin/tofu", "args": ["plan", "-out=*"], "env": ["TF_LOG"], "folder": "./infra", "effect": "read"}],
            "smtp": [{"server": "office", "host": "mail.example.com", "port": 25, "from": ["*@example.com"]}, {"server": "second", "host": "mail.example.com", "port": 465, "login": "mail"}]
        }))
        .unwrap();
        assert_eq!(read.http.len(), 7);
        assert!(matches!(&read.http[0].to, HttpTarget::Host { scheme: Scheme::Https, port: 443, .. }));
        assert_eq!(read.http[0].methods, BTreeSet::from(["GET".to_owned(), "HEAD".to_owned()]));
        assert_eq!(read.summary()[0].1, "GET, HEAD https://api.example.com/**");
        assert!(
            read.http[4].to_string().ends_with("/** with DescribeServices, AmazonEC2ContainerServiceV20141113.Update*")
        );
        assert_eq!(
            read.http[6].to_string(),
            "the container engine `docker` at /var/run/docker.sock: containers brain-* of brain:*, host-network, reading and \
             writing /srv/vault of the machine, volumes cache, capabilities NET_RAW, devices /dev/fuse"
        );
        assert!(matches!(&read.http[4].reads[..], [ReadRule::Action(action), ReadRule::Query(query)]
            if action.as_str() == "Describe*" && query.to_string() == "dryRun=All"));
        assert_eq!(read.exec[0].to_string(), "/usr/bin/tofu plan -out=* in ./infra, only reading");
        assert_eq!(read.smtp.iter().map(|grant| grant.tls).collect::<Vec<_>>(), [MailTls::StartTls, MailTls::Implicit]);
        assert_eq!(read.smtp[1].to_string(), "mail.example.com:465 as `second`, with the credential `mail`");
        assert_eq!(grants(&Value::Null).unwrap(), Grants::default());
        assert_eq!(grants(&json!({})).unwrap(), Grants::default());
    }

    #[test]
    fn nothing_unknown_is_ignored() {
        let cases = [
            (json!({"htp": []}), "/htp", "did you mean `http`"),
            (json!({"sockets": []}), "/sockets", "unknown capability"),
            (json!({"http": [{"host": "a.example", "method": ["GET"]}]}), "/http/0/method", "did you mean `methods`"),
            (json!({"http": [{"host": "a.example", "methods": ["get"]}]}), "/http/0/methods/0", "write `GET`"),
            (json!({"http": [{"host": "a.example", "methods": []}]}), "/http/0/methods", "is empty"),
            (json!({"http": [{"host": "a.example", "methods": ["*"]}]}), "/http/0/methods/0", "name each method"),
            (json!({"http": [{"host": "https://a.example"}]}), "/http/0/host", "is not a host"),
            (json!({"http": [{"host": "a.example", "port": "443"}]}), "/http/0/port", "1 to 65535"),
            (json!({"http": [{"host": "a.example", "scheme": "ftp"}]}), "/http/0/scheme", "`https` or `http`"),
            (json!({"http": [{"host": "a.example", "socket": "agent"}]}), "/http/0", "exactly one"),
            (json!({"http": [{"target": "anything"}]}), "/http/0/target", "`service`"),
            (json!({"http": [{"target": "service", "port": 1}]}), "/http/0/port", "unknown key"),
            (json!({"http": {"host": "a.example"}}), "/http", "write a list"),
            (json!({"http": ["a.example"]}), "/http/0", "mapping"),
            (json!({"tcp": [{"host": "a.example"}]}), "/tcp/0", "`port` is missing"),
            (json!({"files": [{"folder": "v", "path": "v"}]}), "/files/0", "`access` is missing"),
            (
                json!({"files": [{"folder": "v", "path": "v", "access": "write"}]}),
                "/files/0/access",
                "`read` or `read-write`",
            ),
            (json!({"exec": [{"program": "x", "path": "x"}]}), "/exec/0/path", "not absolute"),
            (json!({"exec": [{"program": "x", "path": "/x", "sha256": "abc"}]}), "/exec/0/sha256", "sha256sum"),
            (json!({"http": [{"host": "a.example", "actions": []}]}), "/http/0/actions", "is empty"),
            (json!({"http": [{"host": "a.example", "actions": ["a b"]}]}), "/http/0/actions/0", "not an AWS action"),
            (
                json!({"http": [{"host": "a.example", "reads": [{"act": "x"}]}]}),
                "/http/0/reads/0",
                "`action` is missing",
            ),
            (json!({"http": [{"host": "a.example", "reads": [1]}]}), "/http/0/reads/0", "this is a number"),
            (
                json!({"http": [{"host": "a.example", "reads": [{"query": "dryRun"}]}]}),
                "/http/0/reads/0/query",
                "such as `dryRun=All`",
            ),
            (
                json!({"http": [{"host": "a.example", "reads": [{"query": "a=b", "action": "X"}]}]}),
                "/http/0/reads/0/action",
                "unknown key",
            ),
            (json!({"tcp": [{"target": "service", "effect": "none"}]}), "/tcp/0/effect", "`read` or `change`"),
            (
                json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "tls": "off"}]}),
                "/smtp/0/tls",
                "`none` or",
            ),
            (
                json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "tls": "none", "login": "mail"}]}),
                "/smtp/0/login",
                "never sent in the clear",
            ),
            (
                json!({"smtp": [{"server": "s", "host": "m.example", "port": 25, "login": "My Mail"}]}),
                "/smtp/0/login",
                "name of a credential",
            ),
            (json!({"http": [{"socket": "agent", "at": "/x"}]}), "/http/0", "the host knows"),
            (json!({"http": [{"socket": "x", "at": "x"}]}), "/http/0/at", "not absolute"),
            (json!({"http": [{"socket": "x", "at": "/a/../b"}]}), "/http/0/at", "not absolute"),
            (engine(json!({}), "/x"), "/http/0/containers", "`names` is missing"),
            (
                json!({"http": [{"socket": "x", "containers": {"names": ["a"], "images": ["b"]}}]}),
                "/http/0",
                "`at` is missing",
            ),
            (
                json!({"http": [{"socket": "x", "at": "/x", "methods": ["POST"], "containers": {"names": ["a"], "images": ["b"]}}]}),
                "/http/0/methods",
                "unknown key",
            ),
            (json!({"http": [{"host": "a.example", "containers": {}}]}), "/http/0/containers", "unknown key"),
            (engine(json!({"names": [], "images": ["b"]}), "/x"), "/http/0/containers/names", "is empty"),
            (
                engine(json!({"names": ["a"], "images": ["b"], "allow": ["all"]}), "/x"),
                "/http/0/containers/allow/0",
                "known:",
            ),
            (
                engine(json!({"names": ["a"], "images": ["b"], "priveleged": true}), "/x"),
                "/http/0/containers/priveleged",
                "unknown key",
            ),
            (
                engine(json!({"names": ["a"], "images": ["b"], "capabilities": ["ALL"]}), "/x"),
                "/http/0/containers/capabilities/0",
                "name each one",
            ),
            (
                engine(json!({"names": ["a"], "images": ["b"], "binds": [{"path": "/srv/", "access": "read"}]}), "/x"),
                "/http/0/containers/binds/0/path",
                "not absolute and plain",
            ),
            (
                engine(json!({"names": ["a"], "images": ["b"], "volumes": ["/etc"]}), "/x"),
                "/http/0/containers/volumes/0",
                "below `binds`",
            ),
            (
                engine(json!({"names": ["a"], "images": ["b"], "devices": ["sda"]}), "/x"),
                "/http/0/containers/devices/0",
                "not an absolute path",
            ),
            (json!({"log": []}), "/log", "needs no grant"),
            (json!("all"), "", "grants are text"),
        ];
        for (value, pointer, text) in cases {
            let found = problems(value.clone());
            assert!(found.iter().any(|(at, message)| at == pointer && message.contains(text)), "{value}: {found:?}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let found = problems(json!({"http": [{"host": "a b"}, {"host": "c.example", "x": 1}], "nope": [], "tcp": 3}));
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
