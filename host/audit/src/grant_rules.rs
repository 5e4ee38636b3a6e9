//! What is wide in a grant. None of it is wrong as such: an operator may mean it, and a security team should know.

use crate::findings::Findings;
use crate::rule::Rule;
use basb_grants::{
    Grants, HostPattern, HttpGrant, HttpTarget, MailTls, ProgramGrant, Resolves, Scheme, ServerGrant, TcpGrant,
};

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
