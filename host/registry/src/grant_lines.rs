//! A grant as one line that holds every field of it, so that two lines are equal only when two grants allow the same.
//!
//! Stops a wider grant from hiding behind a summary that leaves a field out: each struct is taken apart field by field,
//! so a field that is added to it does not compile here until it has its place in the line.

use basb_grants::{
    Access, BindGrant, ContainersGrant, Effect, FolderGrant, Grants, HttpGrant, HttpTarget, ProgramGrant, ReadRule,
    Resolves, ServerGrant, TcpGrant,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Display;

/// What is granted, one line per grant, sorted. The order of grants in a file means nothing, and neither do repetitions.
#[must_use]
pub fn grant_lines(grants: &Grants) -> BTreeSet<String> {
    let Grants { http, tcp, files, exec, smtp } = grants;
    let http = http.iter().map(http_line);
    let tcp = tcp.iter().map(tcp_line);
    let files = files.iter().map(folder_line);
    let exec = exec.iter().map(program_line);
    let smtp = smtp.iter().map(server_line);
    http.chain(tcp).chain(files).chain(exec).chain(smtp).collect()
}

/// A credential as one line: its name, and its entry in the deployment file with sorted keys. The entry holds names of
/// secrets, never values; where it may be used is part of it, so a wider binding is another line.
#[must_use]
pub fn credential_line(name: &str, credentials: &Value) -> String {
    match credentials.get(name) {
        None | Some(Value::Null) => name.to_owned(),
        Some(entry) => format!("{name} {}", canonical(entry)),
    }
}

fn http_line(grant: &HttpGrant) -> String {
    let HttpGrant { to, methods, path, actions, reads, containers } = grant;
    let methods = methods.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let path = text(path);
    let (to, resolves) = match to {
        HttpTarget::Host { host, scheme, port, resolves } => {
            (format!("{}://{host}:{port} {path}", scheme.as_str()), resolves_part(*resolves))
        }
        HttpTarget::Socket { name, at } => {
            let at = at.as_ref().map(|at| format!(" at {}", text(at.display()))).unwrap_or_default();
            (format!("socket {}{at} {path}", text(name)), "")
        }
        HttpTarget::Service => (format!("target-service {path}"), ""),
    };
    let reads: BTreeSet<String> = reads
        .iter()
        .map(|rule| match rule {
            ReadRule::Method(method) => method.clone(),
            ReadRule::Path(path) => text(path),
            ReadRule::Action(action) => format!("action {}", text(action)),
            ReadRule::Query(parameter) => format!("query {parameter}"),
        })
        .collect();
    let actions: BTreeSet<String> = actions.iter().map(text).collect();
    let containers = containers.as_ref().map(containers_part).unwrap_or_default();
    format!("http {methods} {to}{resolves}{}{}{containers}", list("actions", actions), list("reads", reads))
}

fn containers_part(grant: &ContainersGrant) -> String {
    let ContainersGrant { names, images, allow, binds, volumes, capabilities, devices } = grant;
    let sorted = |patterns: &[basb_grants::TextPattern]| patterns.iter().map(text).collect::<BTreeSet<_>>();
    let binds: BTreeSet<String> =
        binds.iter().map(|BindGrant { path, access }| format!("{} {}", access_word(*access), text(path))).collect();
    format!(
        "{}{}{}{}{}{}{}",
        list("containers", sorted(names)),
        list("images", sorted(images)),
        list("allow", allow.iter().map(|privilege| privilege.as_str().to_owned())),
        list("binds", binds),
        list("volumes", volumes.iter().map(text)),
        list("capabilities", capabilities.iter().map(text)),
        list("devices", devices.iter().map(text)),
    )
}

fn tcp_line(grant: &TcpGrant) -> String {
    match grant {
        TcpGrant::Host { host, port, resolves, effect } => {
            format!("tcp {host}:{port}{} effect={}", resolves_part(*resolves), effect_word(*effect))
        }
        TcpGrant::Service { effect } => format!("tcp target-service effect={}", effect_word(*effect)),
    }
}

fn folder_line(grant: &FolderGrant) -> String {
    let FolderGrant { folder, path, access } = grant;
    let access = access_word(*access);
    format!("files {access} {} as {}", text(path.display()), text(folder))
}

fn program_line(grant: &ProgramGrant) -> String {
    let ProgramGrant { program, path, sha256, args, env, folder, effect } = grant;
    let effect = effect_word(*effect);
    let folder = folder.as_ref().map(|folder| format!(" folder={}", text(folder.display()))).unwrap_or_default();
    let digest = sha256.as_deref().unwrap_or("any");
    let args: Vec<String> = args.iter().map(text).collect();
    format!(
        "exec {} as {} sha256={digest} args=[{}]{folder} effect={effect}{}",
        text(path.display()),
        text(program),
        args.join(", "),
        list("env", env.iter().map(text)),
    )
}

fn server_line(grant: &ServerGrant) -> String {
    let ServerGrant { server, host, port, resolves, from, to, tls, login } = grant;
    let login = login.as_ref().map(|login| format!(" login={}", text(login))).unwrap_or_default();
    // An empty list allows all, which is wider than any other: it has a word of its own.
    let people = |name, patterns: &[basb_grants::TextPattern]| {
        if patterns.is_empty() {
            format!(" {name}=anyone")
        } else {
            list(name, patterns.iter().map(text).collect::<BTreeSet<_>>())
        }
    };
    format!(
        "smtp {host}:{port} as {} tls={}{login}{}{}{}",
        text(server),
        tls.as_str(),
        resolves_part(*resolves),
        people("from", from),
        people("to", to)
    )
}

fn access_word(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::ReadWrite => "read-write",
    }
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Change => "change",
    }
}

fn resolves_part(resolves: Resolves) -> &'static str {
    match resolves {
        Resolves::Public => "",
        Resolves::Private => " resolves=private",
    }
}

/// ` name=[a, b]`, or nothing for an empty list.
fn list(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { String::new() } else { format!(" {name}=[{}]", items.join(", ")) }
}

/// In quotes, so that no text can look like another field.
fn text(text: impl Display) -> String {
    Value::from(text.to_string()).to_string()
}

/// JSON without spaces and with sorted keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| key.as_str());
            let members: Vec<String> =
                members.into_iter().map(|(key, value)| format!("{}:{}", text(key), canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
