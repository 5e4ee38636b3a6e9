//! What is wide in a grant. None of it is wrong as such: an operator may mean it, and a security team should know.

use crate::findings::Findings;
use crate::rule::Rule;
use basb_grants::{
    ContainersGrant, Grants, HostPattern, HttpGrant, HttpTarget, MailTls, Privilege, ProgramGrant, Resolves, Scheme,
    ServerGrant, TcpGrant,
};
use std::path::Path;

/// Programs that run what their arguments or their input say.
const INTERPRETERS: &[&str] = &[
    "ash", "bash", "busybox", "csh", "dash", "deno", "env", "fish", "ksh", "lua", "node", "perl", "php", "pwsh",
    "ruby", "sh", "ssh", "sudo", "tclsh", "xargs", "zsh",
];

/// Adds what was found in the grants of a plugin.
pub fn check(all: &mut Findings<'_>, grants: &Grants) {
    for (at, grant) in grants.http.iter().enumerate() {
        http(all, &format!("/grants/http/{at}"), grant);
    }
    for (at, grant) in grants.tcp.iter().enumerate() {
        if let TcpGrant::Host { host, resolves, .. } = grant {
            name(all, &format!("/grants/tcp/{at}"), host, *resolves);
        }
    }
    for (at, grant) in grants.exec.iter().enumerate() {
        program(all, &format!("/grants/exec/{at}"), grant);
    }
    for (at, grant) in grants.smtp.iter().enumerate() {
        server(all, &format!("/grants/smtp/{at}"), grant);
    }
}

fn http(all: &mut Findings<'_>, at: &str, grant: &HttpGrant) {
    if let HttpTarget::Socket { at: Some(path), .. } = &grant.to {
        socket(all, at, path, grant.containers.as_ref());
    }
    let HttpTarget::Host { host, scheme, resolves, .. } = &grant.to else { return };
    name(all, at, host, *resolves);
    if *scheme == Scheme::Http && leaves_the_machine(host) {
        all.add(
            Rule::PlainHttp,
            at,
            format!("requests to {host} go over http: anybody on the way can read and change them"),
            "use https",
        );
    }
}

/// Files of the machine that give all of it away.
const WHOLE_MACHINE: &[&str] =
    &["/", "/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/usr", "/var", "/var/run"];

fn socket(all: &mut Findings<'_>, at: &str, path: &Path, containers: Option<&ContainersGrant>) {
    let Some(containers) = containers else {
        let message = format!(
            "any request within `methods` and `path` may go to {}; whoever may make containers there is root on this machine",
            path.display()
        );
        all.add(
            Rule::SocketByPath,
            at,
            message,
            "for a container engine, write `containers` instead of `methods` and `path`",
        );
        return;
    };
    for privilege in containers.allow.iter().filter(|privilege| **privilege != Privilege::HostNetwork) {
        let message =
            format!("containers may have `{}`: as root in one of them, a program is root here", privilege.as_str());
        all.add(Rule::ContainerPrivileges, at, message, "remove it from `allow`");
    }
    for bind in &containers.binds {
        let engine = Path::new(&bind.path) == path || bind.path.ends_with(".sock");
        if engine || WHOLE_MACHINE.contains(&bind.path.as_str()) {
            let message = format!("containers may mount {}, which is enough to become root here", bind.path);
            all.add(Rule::ContainerPrivileges, at, message, "mount the one folder that the service needs");
        }
    }
}

fn name(all: &mut Findings<'_>, at: &str, host: &HostPattern, resolves: Resolves) {
    if matches!(host, HostPattern::Labels(_)) {
        all.add(
            Rule::WideHost,
            at,
            format!("{host} covers every host below that domain, at any depth"),
            "name the hosts, or write `*.` for one label",
        );
    }
    if resolves == Resolves::Private {
        all.add(
            Rule::PrivateNetwork,
            at,
            format!("{host} may lead to private addresses (resolves: private)"),
            "none, if it is meant to be reached inside",
        );
    }
}

fn leaves_the_machine(host: &HostPattern) -> bool {
    match host {
        HostPattern::Localhost => false,
        HostPattern::Address(address) => !address.is_loopback(),
        _ => true,
    }
}

fn program(all: &mut Findings<'_>, at: &str, grant: &ProgramGrant) {
    let path = grant.path.display();
    let file = grant.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // `python3.12` and `node22` too.
    let stem = file.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if INTERPRETERS.contains(&file) || INTERPRETERS.contains(&stem) || stem == "python" {
        all.add(
            Rule::Interpreter,
            at,
            format!("{path} can run any other program, and what it runs is not held by any grant"),
            "grant the program itself",
        );
    }
    if grant.sha256.is_none() {
        all.add(
            Rule::ProgramNotPinned,
            at,
            format!("{path} is granted without its digest: whoever can replace the file decides what runs"),
            "add `sha256`, as `sha256sum` prints it",
        );
    }
    if grant.args.iter().any(|arg| matches!(arg.as_str(), "*" | "**")) {
        all.add(
            Rule::AnyArguments,
            at,
            format!("{path} is granted with arguments of any kind"),
            "write the arguments out, with `*` inside of them only",
        );
    }
}

fn server(all: &mut Findings<'_>, at: &str, grant: &ServerGrant) {
    name(all, at, &grant.host, grant.resolves);
    if grant.to.is_empty() {
        let message = format!("mail through {} may go to any address", grant.host);
        all.add(Rule::AnyRecipient, at, message, "name the recipients under `to`");
    }
    if grant.tls == MailTls::None && leaves_the_machine(&grant.host) {
        let message = format!("mail to {} goes unencrypted (tls: none)", grant.host);
        all.add(Rule::PlainMail, at, message, "use `starttls` or `implicit`");
    }
}
