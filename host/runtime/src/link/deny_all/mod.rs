//! Deny-all, by enumeration: every function of every version of every interface that can be linked is called under an
//! empty grant with everything linked, and what comes of it is compared with `table.txt`, line by line.
//!
//! The functions come from the WIT that is linked: our own, and that of the WASI crates themselves. So a new function, a
//! new version or a new interface is in the list the moment it is linked, and fails the test until somebody has looked at
//! what it does and written it down. What is in the WIT and must not be linked is in the table as well, as `unlinked`.
//! That nothing is linked beside [`super::LINKS`] is read off the sources.

mod component;

use super::{LINKS, LinkSet, Linkers, Needs};
use crate::PoolSize;
use crate::call;
use crate::host::Reach;
use crate::limits::CallLimits;
use crate::wasi::Moment;
use basb_capabilities::exchange::Exchanges;
use basb_capabilities::{CallScope, Caller, Capabilities, Capability, Grants, Mode, Options};
use basb_core::Digest;
use component::{HAS_HANDLES, RETURNED, Recipe, Target, Universe};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::Engine;
use wasmtime::component::Component;
use wit_parser::{Resolve, SizeAlign, Type, TypeDefKind, TypeId};

/// What was looked at.
const TABLE: &str = include_str!("table.txt");

/// Where the WIT of the WASI crates lies that this host is built with.
fn wasi_wit() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        // Of this machine alone: what is built is here, but what other systems would need was never downloaded.
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "host-tuple"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let http = packages.iter().find(|package| package["name"] == "wasmtime-wasi-http").unwrap();
    Path::new(http["manifest_path"].as_str().unwrap()).parent().unwrap().join("wit")
}

fn universe() -> Universe {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/host");
    let mut versions: Vec<_> = std::fs::read_dir(own).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    for folder in versions.into_iter().chain([wasi_wit()]) {
        resolve.push_dir(&folder).unwrap();
    }
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve);
    Universe { resolve, sizes }
}

/// Everything linked, and granted what the test says.
struct Host {
    engine: Engine,
    linkers: Linkers,
    capabilities: Capabilities,
    set: LinkSet,
    grants: Arc<Grants>,
    tokio: tokio::runtime::Runtime,
}

impl Host {
    fn new(grants: &serde_json::Value) -> Self {
        Self {
            grants: Arc::new(Grants::parse(grants).unwrap()),
            engine: crate::engine::engine(PoolSize::instances(4)).unwrap(),
            linkers: Linkers::default(),
            capabilities: Capabilities::new(Options::new("/")),
            set: Capability::ALL.into_iter().map(Needs::Grant).chain([Needs::Inert]).collect(),
            tokio: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    /// What comes of a component: how far it came and its result, or why not; and what the door noted.
    fn run(&self, bytes: &[u8], mode: Mode) -> (Result<Vec<u8>, String>, Vec<String>) {
        let component = Component::new(&self.engine, bytes).unwrap();
        let linker = self.linkers.get(&self.engine, self.set).unwrap();
        let Ok(pre) = linker.instantiate_pre(&component) else { return (Err("unlinked".to_owned()), Vec::new()) };
        let caller = Caller { plugin: "p".into(), digest: Arc::new(Digest::of(b"")), call: "check" };
        let deadline = Instant::now() + Duration::from_secs(60);
        let scope = CallScope::new(caller, Arc::clone(&self.grants), deadline).with_mode(mode);
        let reach: Reach = Arc::new(Exchanges::new(scope, self.capabilities.clone()));
        let limits = CallLimits { handles: 50, ..CallLimits::default() };
        let mut store = call::store(&self.engine, &limits, Some(Arc::clone(&reach)), Moment::START);
        let run = async {
            let instance = pre.instantiate_async(&mut store).await?;
            let run = instance.get_typed_func::<(), (Vec<u8>,)>(&mut store, "run")?;
            Ok(run.call_async(&mut store, ()).await?.0)
        };
        let run: Result<wasmtime::Result<Vec<u8>>, _> =
            self.tokio.block_on(async { tokio::time::timeout(Duration::from_secs(20), run).await });
        let run = match run {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(format!("trap: {}", error.root_cause())),
            Err(_) => Err("waits".to_owned()),
        };
        (run, reach.scope().counters.last_calls().into_iter().map(|call| call.outcome).collect())
    }
}

/// A result in words.
fn shown(universe: &Universe, result: Option<&Type>, bytes: &[u8]) -> String {
    let Some(ty) = result else { return "done".to_owned() };
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let Type::Id(id) = ty else {
        return match ty {
            Type::Bool => (bytes[0] != 0).to_string(),
            Type::String => format!("a text of {}", number(4)),
            _ => "a number".to_owned(),
        };
    };
    let payload = |cases: &[Option<&Type>]| {
        &bytes[universe.sizes.payload_offset(wit_parser::Int::U8, cases.iter().copied()).size_wasm32()..]
    };
    match &universe.resolve.types[*id].kind {
        TypeDefKind::Type(other) => shown(universe, Some(other), bytes),
        TypeDefKind::Handle(_) => "a handle".to_owned(),
        TypeDefKind::List(_) if number(4) == 0 => "an empty list".to_owned(),
        TypeDefKind::List(element) => {
            // A list of results says what its first one says; the others do not matter.
            let what = match element {
                Type::U8 => "bytes",
                _ => "entries",
            };
            format!("a list of {} {what}", number(4))
        }
        TypeDefKind::Enum(cases) => cases.cases[usize::from(bytes[0])].name.clone(),
        TypeDefKind::Variant(cases) => cases.cases[usize::from(bytes[0])].name.clone(),
        TypeDefKind::Option(_) if bytes[0] == 0 => "none".to_owned(),
        TypeDefKind::Option(some) => format!("some {}", shown(universe, Some(some), payload(&[Some(some)]))),
        TypeDefKind::Result(result) => {
            let payload = payload(&[result.ok.as_ref(), result.err.as_ref()]);
            match bytes[0] {
                0 => format!("ok: {}", shown(universe, result.ok.as_ref(), payload)),
                _ => format!("err: {}", shown(universe, result.err.as_ref(), payload)),
            }
        }
        TypeDefKind::Tuple(_) | TypeDefKind::Record(_) => "values".to_owned(),
        TypeDefKind::Flags(_) => "flags".to_owned(),
        other => other.as_str().to_owned(),
    }
}

fn outcome(universe: &Universe, host: &Host, target: Target<'_>, recipes: &Recipes<'_>, mode: Mode) -> String {
    let missing = universe.wants(target.function).into_iter().find(|resource| !recipes.contains_key(resource));
    let (run, noted) = host.run(&universe.component(target, recipes), mode);
    let noted: String = noted.iter().map(|outcome| format!("; noted: {outcome}")).collect();
    let outcome = match run {
        Err(why) if missing.is_some() && why.starts_with("trap: unknown handle index") => {
            let name = missing.and_then(|id| universe.resolve.types[id].name.clone()).unwrap_or_default();
            format!("no {name} can be had")
        }
        Err(why) => why,
        Ok(report) if report[0] == RETURNED => shown(universe, target.function.result.as_ref(), &report[1..]),
        Ok(report) if report[0] == HAS_HANDLES => "lost".to_owned(),
        Ok(_) => "no handle can be had".to_owned(),
    };
    outcome + &noted
}

type Recipes<'a> = BTreeMap<TypeId, Recipe<'a>>;

/// How a handle of each resource can be had, found by trying: what gives one is called with what is had already.
fn recipes<'a>(universe: &Universe, host: &Host, targets: &[Target<'a>]) -> Recipes<'a> {
    let mut known = Recipes::new();
    loop {
        let before = known.len();
        for target in targets {
            if universe.wants(target.function).iter().any(|resource| !known.contains_key(resource)) {
                continue;
            }
            for (resource, recipe) in universe.gives(*target) {
                if known.contains_key(&resource) {
                    continue;
                }
                // What is only got by a call is tried as if it were wanted: the recipe's own checks decide.
                let mut with = known.clone();
                with.insert(resource, recipe.clone());
                let (came, _) = host.run(&universe.component(*target, &known), Mode::Normal);
                if came.is_ok_and(|report| report[0] == RETURNED && recipe.holds(&report[1..])) {
                    known = with;
                }
            }
        }
        if known.len() == before {
            return known;
        }
    }
}

#[test]
fn every_function_is_denied_or_inert_under_an_empty_grant() {
    let universe = universe();
    let host = Host::new(&json!({}));
    let all: Vec<Target<'_>> = universe
        .resolve
        .interfaces
        .iter()
        .filter(|(id, _)| is_import(&universe.name(*id)))
        .flat_map(|(interface, all)| all.functions.values().map(move |function| Target { interface, function }))
        .collect();
    let recipes = recipes(&universe, &host, &all);
    let mut seen = BTreeSet::new();
    for target in &all {
        let outcome = outcome(&universe, &host, *target, &recipes, Mode::Normal);
        seen.insert(format!("{} {} = {outcome}", universe.name(target.interface), target.function.name));
    }
    let table: BTreeSet<String> =
        TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(ToOwned::to_owned).collect();
    let new: Vec<_> = seen.difference(&table).cloned().collect();
    let gone: Vec<_> = table.difference(&seen).cloned().collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "what every function does under an empty grant has changed. Look at each line, and only if nothing gets out, \
         write it to src/link/deny_all/table.txt.\n\nnot in the table:\n{}\n\nin the table, but not so:\n{}",
        new.join("\n"),
        gone.join("\n")
    );
    assert!(seen.len() > 150, "{}", seen.len());
    // Whatever the table says: of our own interfaces only the log does anything, and what the door notes is a denial.
    for line in seen.iter().filter(|line| line.starts_with("basb:host/") && !line.starts_with("basb:host/log@")) {
        assert!(line.ends_with("; noted: denied"), "{line}");
    }
    for line in seen.iter().filter(|line| line.contains("; noted: ")) {
        assert_eq!(line.matches("; noted: ").count(), line.matches("; noted: denied").count(), "{line}");
    }
}

/// Exports of plugins are no imports.
fn is_import(interface: &str) -> bool {
    let own = interface.strip_prefix("basb:host/").and_then(|rest| rest.split('@').next());
    own.is_none_or(|name| Capability::from_name(name).is_some())
}

/// A sealed call gets nothing, whatever is granted and whatever the interface.
#[test]
fn a_sealed_call_is_denied_whatever_is_granted() {
    let universe = universe();
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(&json!({
        "http": [
            {"host": "127.0.0.1", "scheme": "http", "port": 9, "path": "/**"},
            {"host": "127.0.0.1", "scheme": "https", "port": 9, "path": "/**"}
        ],
        "tcp": [{"host": "127.0.0.1", "port": 9}],
        "exec": [{"program": "sh", "path": "/bin/false"}],
        "files": [{"folder": "x", "path": folder.path(), "access": "read-write"}],
        "smtp": [{"server": "x", "host": "127.0.0.1", "port": 9}]
    }));
    let is_ours = |name: &str| name.starts_with("basb:host/") || name.starts_with("wasi:http/outgoing-handler@");
    let all: Vec<_> = universe.resolve.interfaces.iter().collect();
    let targets: Vec<Target<'_>> = all
        .iter()
        .flat_map(|(interface, all)| all.functions.values().map(|function| Target { interface: *interface, function }))
        .filter(|target| is_import(&universe.name(target.interface)))
        .collect();
    let wasi: Vec<_> =
        targets.iter().copied().filter(|target| universe.name(target.interface).starts_with("wasi:http/")).collect();
    let recipes = recipes(&universe, &host, &wasi);
    let mut denied = 0;
    for target in targets {
        let name = universe.name(target.interface);
        if name.starts_with("basb:host/log@") || !is_ours(&name) && !name.starts_with("wasi:http/types@") {
            continue;
        }
        let line = format!("{name} {}", target.function.name);
        let sealed = outcome(&universe, &host, target, &recipes, Mode::Sealed);
        assert!(!sealed.contains("; noted: ") || sealed.ends_with("; noted: denied"), "{line}: {sealed}");
        if sealed.ends_with("; noted: denied") {
            denied += 1;
            // Without the seal it is granted, or this would prove nothing.
            let normal = outcome(&universe, &host, target, &recipes, Mode::Normal);
            assert!(!normal.ends_with("; noted: denied"), "{line}: {normal}");
        }
    }
    assert!(denied >= 10, "{denied}");
}

/// The list of links is all that is linked: each of its entries stands for one interface of the WIT, and what links
/// anything is called nowhere else.
#[test]
fn nothing_is_linked_beside_the_list() {
    let universe = universe();
    let names: BTreeSet<String> = universe
        .resolve
        .interfaces
        .iter()
        .filter_map(|(id, _)| universe.name(id).split('@').next().map(ToOwned::to_owned))
        .collect();
    let mut linked = BTreeSet::new();
    for link in LINKS {
        assert!(names.contains(link.interface), "{} is in no WIT that the test reads", link.interface);
        assert!(linked.insert(link.interface), "{} is linked twice", link.interface);
    }
    // What is told from the bytes before anything is loaded is what is linked.
    for (needs, expected) in [
        (Needs::Inert, basb_inspect::WASI_INERT.to_vec()),
        (Needs::Grant(Capability::Http), basb_inspect::WASI_HTTP.to_vec()),
    ] {
        let of = LINKS.iter().filter(|link| link.needs == needs);
        let mut wasi: Vec<_> = of.filter_map(|link| link.interface.strip_prefix("wasi:")).collect();
        wasi.sort_unstable();
        assert_eq!(wasi, expected);
    }
    let calls = |text: &str| {
        ["add_to_linker", ".instance(", "func_wrap", "func_new", "define_unknown"]
            .map(|part| text.matches(part).count())
    };
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![sources.clone()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                if !path.ends_with("deny_all") {
                    folders.push(path);
                }
                continue;
            }
            let expected = if path == sources.join("link.rs") { [LINKS.len(), 0, 0, 0, 0] } else { [0; 5] };
            assert_eq!(calls(&std::fs::read_to_string(&path).unwrap()), expected, "{}", path.display());
        }
    }
}
