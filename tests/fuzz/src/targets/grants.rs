//! Grants of a deployment file, as JSON; two documents with a line `---` between them.

use super::leads_somewhere;
use crate::Target;
use basb_capabilities::Grants;
use basb_grants::grants_schema;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::LazyLock;

pub(crate) const TARGET: Target = Target {
    name: "grants",
    run,
    more: &[],
    words: &[
        "\"http\"",
        "\"tcp\"",
        "\"files\"",
        "\"exec\"",
        "\"smtp\"",
        "\"log\"",
        "\"host\"",
        "\"port\"",
        "\"scheme\"",
        "\"methods\"",
        "\"path\"",
        "\"actions\"",
        "\"reads\"",
        "\"socket\"",
        "\"target\"",
        "\"service\"",
        "\"resolves\"",
        "\"private\"",
        "\"GET\"",
        "\"POST\"",
        "\"*.example.com\"",
        "\"**.example.com\"",
        "\"/v1/**\"",
        "\"folder\"",
        "\"access\"",
        "\"read-write\"",
        "\"program\"",
        "\"args\"",
        "\"sha256\"",
        "\"env\"",
        "\"effect\"",
        "\"server\"",
        "\"from\"",
        "\"to\"",
        "\"tls\"",
        "\"none\"",
        "\"login\"",
        "\"at\"",
        "\"/run/docker.sock\"",
        "\"containers\"",
        "\"names\"",
        "\"images\"",
        "\"allow\"",
        "\"host-network\"",
        "\"binds\"",
        "\"volumes\"",
        "\"capabilities\"",
        "\"devices\"",
        "{\"action\":\"Describe*\"}",
        "[]",
        "{}",
        "null",
        "443",
        "\n---\n",
        "127.0.0.1",
        "[::1]",
        "localhost",
    ],
};

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(grants_schema().as_value()).expect("the schema of grants is a schema"));

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once("\n---\n").unwrap_or((text, ""));
    let first = one(first);
    if let (Some(first), Some(second)) = (first, one(second)) {
        // What the lock file holds of grants is the same only when the grants are.
        let same = basb_registry::grant_lines(&first) == basb_registry::grant_lines(&second);
        assert_eq!(same, meaning(&first) == meaning(&second), "{first:?} {second:?}");
    }
}

fn one(text: &str) -> Option<Grants> {
    let value: Value = serde_json::from_str(text).ok()?;
    match Grants::parse(&value) {
        Ok(grants) => {
            assert!(SCHEMA.is_valid(&value), "read, but not by the schema: {value}");
            assert_eq!(Grants::parse(&value).as_ref(), Ok(&grants));
            for line in basb_registry::grant_lines(&grants) {
                assert!(!line.contains('\n'), "{line:?}");
            }
            assert!(value.is_object() || value.is_null());
            Some(grants)
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(leads_somewhere(&value, &problem.pointer), "{problem:?} in {value}");
                assert!(!problem.message.is_empty() && !problem.help.is_empty());
            }
            None
        }
    }
}

/// Grants without order and repetition.
fn meaning(grants: &Grants) -> [BTreeSet<String>; 5] {
    let Grants { http, tcp, files, exec, smtp } = grants.clone();
    let http = http.into_iter().map(|mut grant| {
        sort(&mut grant.actions);
        sort(&mut grant.reads);
        if let Some(containers) = &mut grant.containers {
            sort(&mut containers.names);
            sort(&mut containers.images);
            sort(&mut containers.binds);
        }
        grant
    });
    let smtp = smtp.into_iter().map(|mut grant| {
        sort(&mut grant.from);
        sort(&mut grant.to);
        grant
    });
    [
        http.map(|grant| debug(&grant)).collect(),
        tcp.iter().map(debug).collect(),
        files.iter().map(debug).collect(),
        exec.iter().map(debug).collect(),
        smtp.map(|grant| debug(&grant)).collect(),
    ]
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

fn sort<T: Debug>(items: &mut Vec<T>) {
    items.sort_by_key(debug);
    items.dedup_by_key(|item| debug(item));
}
