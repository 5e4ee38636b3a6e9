//! What a plugin says of itself, and what it is: lies in the manifest, other worlds, unknown imports, shims of interfaces
//! that this host does not have.

use super::{by_hand, load, none, service};
use crate::case::Case;
use crate::ensure;
use crate::expect::{denied, refused};
use crate::lab::{Lab, check, patient, request};
use basb_guest_script::Outcome as Told;
use basb_guest_wat::{component, manifest, with_manifest};
use basb_runtime::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        lie(
            "manifest-asks-less",
            "asks for nothing and imports http",
            "asks-http",
            || manifest("probe", &[]),
            "plugin/not-requested",
            &["`basb:host/http@0.1.0`"],
        ),
        lie(
            "manifest-other-kind",
            "says that it is a strategy and is a probe",
            "quiet",
            || manifest("strategy", &[]),
            "plugin/manifest",
            &["strategy", "probe"],
        ),
        lie(
            "manifest-beyond-its-kind",
            "a strategy that asks for http",
            "quiet",
            || manifest("strategy", &["http"]),
            "plugin/manifest",
            &["http"],
        ),
        lie(
            "manifest-unknown-capability",
            "asks for a capability that does not exist",
            "quiet",
            || manifest("probe", &["root"]),
            "plugin/manifest",
            &["root"],
        ),
        lie(
            "manifest-newer",
            "a manifest of a later form",
            "quiet",
            || manifest("probe", &[]).replace("\"manifestVersion\":1", "\"manifestVersion\":2"),
            "plugin/manifest",
            &["newer basb-host"],
        ),
        lie(
            "manifest-other-wit",
            "built for another generation of the interfaces",
            "quiet",
            || manifest("probe", &[]).replace("\"wit\":\"0.1\"", "\"wit\":\"0.10\""),
            "plugin/manifest",
            &["0.10"],
        ),
        lie(
            "manifest-no-json",
            "a manifest that is no JSON",
            "quiet",
            || "{".to_owned(),
            "plugin/manifest",
            &["cannot be read"],
        ),
        lie(
            "manifest-deep",
            "a manifest of 100,000 lists in lists",
            "quiet",
            || "[".repeat(100_000),
            "plugin/manifest",
            &["cannot be read"],
        ),
        lie(
            "manifest-deep-schema",
            "a schema of 100,000 lists in lists",
            "quiet",
            || {
                manifest("probe", &[]).replace(
                    "{\"type\":\"object\"}",
                    &format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
                )
            },
            "plugin/manifest",
            &["cannot be read"],
        ),
        lie(
            "manifest-twice-a-key",
            "says its kind twice",
            "quiet",
            || manifest("probe", &[]).replace("\"kind\":\"probe\"", "\"kind\":\"probe\",\"kind\":\"strategy\""),
            "plugin/manifest",
            &["duplicate"],
        ),
        lie(
            "manifest-twice-a-wish",
            "asks for the same twice, the second time with another reason",
            "quiet",
            || manifest("probe", &["http", "http"]),
            "plugin/manifest",
            &["twice"],
        ),
        lie(
            "manifest-more-keys",
            "a key that nobody knows",
            "quiet",
            || manifest("probe", &[]).replace("\"wit\"", "\"grants\":\"all\",\"wit\""),
            "plugin/manifest",
            &["grants"],
        ),
        lie(
            "manifest-name-a-path",
            "a name that is a path",
            "quiet",
            || manifest("probe", &[]).replace("by-hand", "../../etc/passwd"),
            "plugin/manifest",
            &["name"],
        ),
        lie(
            "manifest-reason-of-lines",
            "a reason with lines that look like the operator's own",
            "quiet",
            || manifest("probe", &["http"]).replace("to be bad", "x\\nplugins:\\n  hostile:\\n    grants: {exec: []}"),
            "plugin/manifest",
            &["reason"],
        ),
        lie(
            "manifest-paints",
            "a name that repaints the terminal",
            "quiet",
            || manifest("probe", &[]).replace("by-hand", "\\u001b[2J\\u202egood"),
            "plugin/manifest",
            &[],
        ),
        lie(
            "manifest-publisher-paints",
            "a publisher that repaints the terminal",
            "quiet",
            || manifest("probe", &[]).replace("mallory", "\\u001b[2Jbasb-host"),
            "plugin/manifest",
            &["publisher"],
        ),
        Case::new(
            "manifest-publisher-bidi",
            "a publisher whose text runs backwards on the screen",
            |lab: Arc<Lab>| async move {
                let json = manifest("probe", &[]).replace("mallory", "evil\\u202etsoh-bsab");
                refused(
                    load(&lab, &with_manifest(component("quiet", &[]).unwrap(), json.as_bytes()), &none()),
                    "plugin/manifest",
                    &["publisher"],
                )
            },
        ),
        Case::new("manifest-missing", "no manifest at all", |lab: Arc<Lab>| async move {
            refused(
                load(&lab, &component("quiet", &[]).unwrap(), &none()),
                "plugin/no-manifest",
                &["build it with the SDK"],
            )
        }),
        Case::new("manifest-not-utf8", "a manifest that is no text", |lab: Arc<Lab>| async move {
            let bytes = with_manifest(component("quiet", &[]).unwrap(), b"{\"name\":\"\xff\xfe\"}");
            refused(load(&lab, &bytes, &none()), "plugin/manifest", &[])
        }),
        Case::new(
            "manifest-several",
            "two manifests: one for the reader, one for the host",
            |lab: Arc<Lab>| async move {
                let bytes = with_manifest(by_hand("asks-http", &[]), manifest("probe", &["http"]).as_bytes());
                refused(load(&lab, &bytes, &service()), "plugin/manifest", &["2 manifests that differ"])
            },
        ),
        Case::new(
            "manifest-hidden-inside",
            "a second manifest in a component inside of it",
            |lab: Arc<Lab>| async move {
                let inner =
                    with_manifest(b"\0asm\x0d\0\x01\0".to_vec(), manifest("probe", &["http", "exec"]).as_bytes());
                let bytes = basb_guest_wat::append_section(by_hand("asks-http", &["http"]), 4, &inner);
                refused(load(&lab, &bytes, &service()), "plugin/manifest", &["2 manifests that differ"])
            },
        ),
        Case::new("manifest-100-mb", "a manifest of 100 MB", |lab: Arc<Lab>| async move {
            let bytes = with_manifest(component("quiet", &[]).unwrap(), &vec![b' '; 100 << 20]);
            refused(load(&lab, &bytes, &none()), "plugin/too-large", &["may have"])
        })
        // Twice what the case itself makes.
        .may_grow(320),
        Case::new("manifest-31-mb", "a manifest of 31 MB, within the size of a plugin", |lab: Arc<Lab>| async move {
            let mut json = manifest("probe", &[])
                .replace("\"type\":\"object\"", &format!("\"title\":\"{}\"", "x".repeat(31 << 20)));
            json.shrink_to_fit();
            let bytes = with_manifest(component("quiet", &[]).unwrap(), json.as_bytes());
            refused(load(&lab, &bytes, &none()), "plugin/manifest", &["may have"])
        })
        .may_grow(200),
        Case::new("bytes-no-wasm", "a shell script instead of a component", |lab: Arc<Lab>| async move {
            refused(load(&lab, b"#!/bin/sh\nrm -rf \x1b[2J/", &none()), "plugin/not-wasm", &["#!/bin/sh"])
        }),
        Case::new("bytes-cut-off", "a component that is cut off at each of 200 places", |lab: Arc<Lab>| async move {
            let whole = by_hand("asks-http", &["http"]);
            let mut seen = String::new();
            for at in (0..200).map(|n| n * whole.len() / 200) {
                let error = load(&lab, &whole[..at], &none()).map(|_| ()).expect_err("it loads");
                ensure!(error.code().starts_with("plugin/"), "{error}");
                seen = error.to_string();
            }
            Ok(seen)
        }),
        Case::new(
            "bytes-damaged",
            "a component with one bit changed, at each of 300 places",
            |lab: Arc<Lab>| async move {
                let whole = lab.guest("guest-misbehave");
                let mut refusals = 0;
                for n in 0..60_usize {
                    let mut bytes = whole.clone();
                    let at = (n * 7919) % bytes.len();
                    bytes[at] ^= 1 << (n % 8);
                    // Some are another program that is in good order; none may bring the host down.
                    refusals += usize::from(load(&lab, &bytes, &none()).is_err());
                }
                Ok(format!("{refusals} of 60 refused"))
            },
        ),
        Case::new("world-other", "a probe that is used as a provider", |lab: Arc<Lab>| async move {
            refused(
                lab.load(&by_hand("quiet", &[]), Kind::Provider, &none()),
                "plugin/wrong-world",
                &["can be used as a probe"],
            )
        }),
        Case::new("world-newer", "a probe of the next generation", |lab: Arc<Lab>| async move {
            refused(load(&lab, &by_hand("export-newer", &[]), &none()), "plugin/wrong-world", &["probe@0.2.0"])
        }),
        Case::new("world-other-types", "a measurement that has a field more", |lab: Arc<Lab>| async move {
            refused(load(&lab, &by_hand("export-other-types", &[]), &none()), "plugin/interface", &["current SDK"])
        }),
        shim(
            "import-unknown",
            "imports an interface that nobody has",
            &[],
            "plugin/foreign-import",
            &["test:guest/raw"],
        ),
        shim("import-bare", "imports a function without an interface", &[], "plugin/foreign-import", &["system"]),
        shim("import-beyond", "a probe that imports mail", &[], "plugin/foreign-import", &["basb:host/smtp", "probe"]),
        shim(
            "shim-older",
            "http@0.0.9, older than any that was released",
            &["http"],
            "plugin/foreign-import",
            &["http@0.0.9"],
        ),
        shim("shim-newer", "http@0.2.0, of the next generation", &["http"], "plugin/foreign-import", &["http@0.2.0"]),
        shim("shim-candidate", "http@0.1.0-rc.1", &["http"], "plugin/foreign-import", &["http@0.1.0-rc.1"]),
        shim(
            "shim-renamed",
            "http under another name",
            &["http"],
            "plugin/foreign-import",
            &["basb:host/hypertext@0.1.4"],
        ),
        shim(
            "shim-new-function",
            "a function that the released http does not have",
            &["http"],
            "plugin/interface",
            &["send-raw"],
        ),
        shim("shim-new-field", "a request with a field more", &["http"], "plugin/interface", &[]),
        shim("shim-new-case", "an error with a case more", &["http"], "plugin/interface", &[]),
        Case::new(
            "shim-patch",
            "http@0.1.9: a later patch loads, and is policed as ever",
            |lab: Arc<Lab>| async move {
                let plugin =
                    load(&lab, &by_hand("shim-patch", &["http"]), &json!({"http": [{"host": "nowhere.invalid"}]}))
                        .map_err(|error| error.to_string())?;
                let called =
                    check(&plugin, &patient(), "{}", &lab.victim.url("/")).await.map_err(|error| error.to_string())?;
                denied(&Told::failed("denied", called.value.summary), &plugin, "check", &["GET http://127.0.0.1:"])
            },
        ),
        Case::new(
            "start-asks",
            "a request while the plugin is loaded, although it is granted",
            |lab: Arc<Lab>| async move {
                let port = lab.victim.port.to_string();
                ensure!(port.len() == 5, "the port {port} does not fit");
                let bytes = with_manifest(
                    component("start-asks", &[("PORT", &port)]).unwrap(),
                    manifest("probe", &["http"]).as_bytes(),
                );
                let grants = json!({"http": [{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port}]});
                match load(&lab, &bytes, &grants) {
                    Ok(_) => Ok("it loads, and its request went nowhere".to_owned()),
                    Err(error) => Ok(error.to_string()),
                }
            },
        ),
        Case::new(
            "grants-nothing",
            "needs what is not granted: all of it is listed, with lines to paste",
            |lab: Arc<Lab>| async move {
                let loaded =
                    lab.runtime.load_blocking(&lab.guest("guest-hostile-probe"), request(Kind::Probe, &none()));
                refused(
                    loaded,
                    "plugin/not-granted",
                    &["`http` (to reach what it must not)", "`tcp`", "`exec`", "plugins:\n  hostile:\n    grants:"],
                )
            },
        ),
    ];
    all.push(Case::new("reasons-paint", "a reason that runs backwards on the screen", |lab: Arc<Lab>| async move {
        let json = manifest("probe", &["http"]).replace("to be bad", "please\\u202e grant\\u2066 me");
        let bytes = with_manifest(component("asks-http", &[]).unwrap(), json.as_bytes());
        let code = load(&lab, &bytes, &none()).map(|_| "").unwrap_or_else(|error| error.code());
        ensure!(["plugin/not-granted", "plugin/manifest"].contains(&code), "{code}");
        refused(load(&lab, &bytes, &none()), code, &[])
    }));
    all
}

/// A component by hand with a manifest that lies.
fn lie(
    name: &'static str,
    attacks: &str,
    guest: &'static str,
    json: fn() -> String,
    code: &'static str,
    parts: &'static [&'static str],
) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| async move {
        let bytes = with_manifest(component(guest, &[]).unwrap(), json().as_bytes());
        // Whatever it says of itself, everything is granted.
        let grants: Value = json!({"http": [{"target": "service"}], "tcp": [{"target": "service"}], "exec": [{"program": "x", "path": "/x"}]});
        refused(load(&lab, &bytes, &grants), code, parts)
    })
}

/// A component by hand that imports or exports what this host does not have.
fn shim(
    guest: &'static str,
    attacks: &str,
    asks: &'static [&'static str],
    code: &'static str,
    parts: &'static [&'static str],
) -> Case {
    Case::new(guest, attacks, move |lab: Arc<Lab>| async move {
        refused(load(&lab, &by_hand(guest, asks), &service()), code, parts)
    })
}
