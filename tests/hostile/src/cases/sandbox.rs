//! Inside the sandbox: time, memory, tables, stack, instances, what is passed to and fro, traps, and what compiling costs.

use super::{by_hand, load, none, service};
use crate::case::{Case, Outcome};
use crate::ensure;
use crate::expect::{ended, refused};
use crate::lab::{Lab, check, patient, play, play_as, script};
use crate::memory::Children;
use crate::neighbour::Neighbour;
use basb_guest_script::Step;
use basb_guest_wat::{generated, manifest, with_manifest};
use basb_runtime::{CallOptions, LoadError, Plugin};
use std::sync::Arc;
use std::time::Duration;

/// How long an endless call may take in these cases.
const SHORT: Duration = Duration::from_millis(300);

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        starting("loop-in-start", "a module that never ends in its `start` function", "plugin/timed-out"),
        starting("loop-in-initialize", "a component that never ends while it is made", "plugin/timed-out"),
        starting("memory-initial", "a memory of 4 GiB from the beginning", "plugin/"),
        starting("table-initial", "a table of ten million elements from the beginning", "plugin/"),
        endless("loop-in-call", "a call that never ends"),
        endless("loop-in-realloc", "never ends while the host puts the arguments into its memory"),
        endless("loop-in-post-return", "never ends after the host has its result"),
        endless("memory-grow-ever", "asks for memory for ever, whatever the answer"),
        calling("memory-grow", "takes all memory it gets, touches it, and traps", &["plugin/memory", "plugin/trap"])
            .may_grow(100),
        calling("table-grow", "grows a table until it gets no more", &["plugin/trap", "plugin/memory"]),
        calling("recursion", "a function that calls itself without end", &["plugin/stack"]),
        calling("realloc-outside", "lets the host write outside of its memory", &["plugin/trap"]),
        calling("trap-unreachable", "reaches what cannot be reached", &["plugin/trap"]),
        calling("trap-divide", "divides by zero", &["plugin/trap"]),
        calling("trap-null-call", "calls a function that is not there", &["plugin/trap"]),
        calling("trap-outside", "reads outside of its memory", &["plugin/trap"]),
        calling("return-wild", "a result at the end of the address space", &["plugin/trap"]),
        calling("return-odd", "a result at an odd address", &["plugin/trap"]),
        calling("return-huge-text", "a text of 2 GB in a memory of 64 KiB", &["plugin/trap", "plugin/too-large"]),
        calling("return-wild-text", "a text outside of the memory", &["plugin/trap"]),
        calling("return-empty-texts", "four million pairs of empty texts", &["plugin/too-large"]).may_grow(100),
        calling("return-long-list", "250 million values in a memory of 64 KiB", &["plugin/trap", "plugin/too-large"]),
        calling("return-no-text", "a text that is not UTF-8", &["plugin/trap"]),
        calling("return-no-verdict", "a verdict that does not exist", &["plugin/trap"]),
        calling("log-huge-line", "a log line of 60 MiB", &["plugin/too-large", "plugin/log-flood"]).may_grow(100),
        calling("log-empty-lines", "empty log lines for ever", &["plugin/log-flood"]),
        calling("log-wild", "a log line outside of the memory", &["plugin/trap"]),
        calling("log-no-level", "a log level that does not exist", &["plugin/trap"]),
        calling(
            "resource-bomb",
            "handles to resources without end",
            &["plugin/trap", "plugin/too-large", "plugin/handles"],
        ),
    ];
    all.extend([
        Case::new("headers-of-nothing", "four million headers without name and value", |lab: Arc<Lab>| async move {
            let plugin = load(&lab, &by_hand("headers-of-nothing", &["http"]), &service()).unwrap();
            ended(check(&plugin, &patient(), "{}", &lab.victim.url("/")).await, &["plugin/too-large"], &[])
        })
        .may_grow(100),
        Case::new("loop-in-describe", "never ends when it is only asked what it is", |lab: Arc<Lab>| async move {
            let plugin = load(&lab, &by_hand("loop-in-describe", &[]), &none()).unwrap();
            let described = plugin.probe().unwrap().describe(&CallOptions::new(SHORT)).await;
            ended(described, &["plugin/timed-out"], &["300 ms"])
        }),
        Case::new("memory-in-rust", "a Rust guest that takes all memory it gets", |lab: Arc<Lab>| async move {
            ended(play(&lab.probe(&none()), &script(vec![Step::Memory])).await, &["plugin/memory"], &["64 MiB"])
        })
        .may_grow(100),
        Case::new("recursion-in-rust", "a Rust guest that calls itself without end", |lab: Arc<Lab>| async move {
            let codes = ["plugin/stack", "plugin/trap"];
            ended(play(&lab.probe(&none()), &script(vec![Step::Recursion])).await, &codes, &[])
        }),
        Case::new("again-after-each-trap", "traps sixty times, and leaves nothing behind", trap_often),
        Case::new("instances-200", "two hundred instances of a module in one component", |lab: Arc<Lab>| async move {
            let bytes = generated::with_instances("(module (memory 1) (func))", 200).unwrap();
            too_many(load(&lab, &with_manifest(bytes, manifest("probe", &[]).as_bytes()), &none()))
        }),
        Case::new(
            "memories-together",
            "three memories of 40 MiB, each of which alone is allowed",
            |lab: Arc<Lab>| async move {
                let bytes = generated::with_instances("(module (memory 640))", 3).unwrap();
                let loaded = load(&lab, &with_manifest(bytes, manifest("probe", &[]).as_bytes()), &none());
                refused(loaded, "plugin/memory", &["64 MiB"])
            },
        ),
        Case::new("memories-16", "sixteen small memories", |lab: Arc<Lab>| async move {
            let bytes = generated::with_instances("(module (memory 1))", 16).unwrap();
            too_many(load(&lab, &with_manifest(bytes, manifest("probe", &[]).as_bytes()), &none()))
        }),
        types("types-deep", "types nested 2,000 deep", || generated::deep_types(2000)),
        types("types-doubling", "a type of 2^60 fields", || generated::doubling_types(60)),
        types("components-deep", "components nested 1,000 deep", || generated::deep_components(1000)),
        compiling("compile-many-calls", "one function with 300,000 calls in 600 KB", || generated::many_calls(300_000)),
        compiling("compile-many-functions", "100,000 functions", || generated::many_functions(100_000)),
        compiling("compile-many-locals", "a function with 49,000 locals that are all alive", || {
            generated::many_locals(49_000)
        }),
        compiling("compile-deep-blocks", "blocks nested 100,000 deep", || generated::deep_blocks(100_000)),
        Case::new(
            "loops-and-a-neighbour",
            "four endless guests beside a neighbour: 99 of 100 of its calls take less than 5 ms longer",
            |lab: Arc<Lab>| async move {
                loops(&lab, &|plugin| {
                    Box::pin(async move {
                        play_as(&plugin, &CallOptions::new(Duration::from_secs(20)), &script(vec![Step::Loop]))
                            .await
                            .map(|_| ())
                    })
                })
                .await
            },
        )
        .alone(),
        Case::new(
            "loops-by-hand-and-a-neighbour",
            "four of the tightest loops there are beside a neighbour",
            |lab: Arc<Lab>| async move {
                let tight = load(&lab, &by_hand("loop-in-call", &[]), &none()).unwrap();
                loops(&lab, &move |_| {
                    let tight = tight.clone();
                    Box::pin(async move {
                        check(&tight, &CallOptions::new(Duration::from_secs(20)), "{}", "x").await.map(|_| ())
                    })
                })
                .await
            },
        )
        .alone(),
        Case::new(
            "floods-and-a-neighbour",
            "four guests that send requests without end beside a neighbour",
            |lab: Arc<Lab>| async move {
                let flood = Step::Repeat {
                    times: u32::MAX,
                    step: Box::new(Step::Http(basb_guest_script::Request::get("http://denied.invalid/"))),
                };
                loops(&lab, &move |plugin| {
                    let flood = flood.clone();
                    Box::pin(async move {
                        play_as(&plugin, &CallOptions::new(Duration::from_secs(20)), &script(vec![flood]))
                            .await
                            .map(|_| ())
                    })
                })
                .await
            },
        )
        .alone(),
    ]);
    all
}

/// A guest by hand whose making is the attack.
fn starting(guest: &'static str, attacks: &str, code: &'static str) -> Case {
    Case::new(guest, attacks, move |lab: Arc<Lab>| async move {
        match load(&lab, &by_hand(guest, &[]), &none()) {
            // Which of its limits stops it first is not the point.
            Err(error) if code.ends_with('/') && error.code().starts_with(code) => {
                let code = error.code();
                refused(Err(error), code, &[])
            }
            loaded => refused(loaded, code, &["5000 ms"]),
        }
    })
}

/// More instances or memories than there may be: which of the limits says so first is not the point.
fn too_many(loaded: Result<Plugin, LoadError>) -> Outcome {
    let code = loaded.as_ref().err().map_or("plugin/", LoadError::code);
    refused(loaded, code, &[])
}

/// A guest by hand whose call never ends.
fn endless(guest: &'static str, attacks: &str) -> Case {
    Case::new(guest, attacks, move |lab: Arc<Lab>| async move {
        let plugin = load(&lab, &by_hand(guest, &[]), &none()).map_err(|error| error.to_string())?;
        ended(check(&plugin, &CallOptions::new(SHORT), "{}", "x").await, &["plugin/timed-out"], &["300 ms"])
    })
}

/// A guest by hand whose call is ended.
fn calling(guest: &'static str, attacks: &str, codes: &'static [&'static str]) -> Case {
    Case::new(guest, attacks, move |lab: Arc<Lab>| async move {
        let plugin = load(&lab, &by_hand(guest, &[]), &none()).map_err(|error| error.to_string())?;
        ended(check(&plugin, &patient(), "{}", "x").await, codes, &[])
    })
}

async fn trap_often(lab: Arc<Lab>) -> Outcome {
    let plugin = load(&lab, &by_hand("memory-grow", &[]), &none()).unwrap();
    let mut last = String::new();
    for _ in 0..60 {
        last = ended(check(&plugin, &patient(), "{}", "x").await, &["plugin/memory", "plugin/trap"], &[])?;
    }
    Ok(last)
}

/// A component with strange types: it may load if that costs nothing, and must not if it does.
fn types(name: &'static str, attacks: &str, make: fn() -> Result<Vec<u8>, basb_guest_wat::WatError>) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| async move {
        let bytes = with_manifest(make().map_err(|error| error.to_string())?, manifest("probe", &[]).as_bytes());
        let loaded = tokio::task::spawn_blocking({
            let lab = Arc::clone(&lab);
            move || load(&lab, &bytes, &none())
        });
        match tokio::time::timeout(Duration::from_secs(20), loaded)
            .await
            .map_err(|_| "it takes more than 20 s".to_owned())?
            .unwrap()
        {
            Ok(_) => Ok("it loads, within the bounds".to_owned()),
            Err(error) => {
                let code = error.code();
                refused(Err(error), code, &[])
            }
        }
    })
}

/// A component that costs much to compile: whatever comes of it, this process does not pay for it.
fn compiling(name: &'static str, attacks: &str, make: fn() -> Result<Vec<u8>, basb_guest_wat::WatError>) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| async move {
        // Made in this process before anything is measured would be better, but the text is a few MiB at the most.
        let bytes = with_manifest(make().map_err(|error| error.to_string())?, manifest("probe", &[]).as_bytes());
        let children = Children::watch();
        // A comment that differs each time, so that nothing is found in the cache.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let bytes = basb_guest_wat::with_section(bytes, "once", now.to_string().as_bytes());
        let loaded = tokio::task::spawn_blocking({
            let lab = Arc::clone(&lab);
            move || load(&lab, &bytes, &none())
        });
        // Meanwhile the neighbour works.
        let mut calls = 0;
        while !loaded.is_finished() {
            lab.neighbour.works().await?;
            calls += 1;
        }
        let child = children.highest_mib();
        match loaded.await.unwrap() {
            Ok(_) => Ok(format!("it loads; the child that compiled it used {child} MiB; {calls} calls meanwhile")),
            Err(error) => {
                let code = error.code();
                ensure!(code == "plugin/compile", "{code}: {error}");
                refused(Err(error), code, &[])
                    .map(|text| format!("{text} (child: {child} MiB; {calls} calls meanwhile)"))
            }
        }
    })
    .may_grow(100)
}

type Hostile<'a> =
    &'a (dyn Fn(Plugin) -> futures_util::future::BoxFuture<'static, Result<(), basb_runtime::CallError>> + Sync);

/// Four hostile calls at once, and how long the calls of a neighbour take meanwhile. The best of a few rounds counts: what
/// else runs on the machine can only make it worse.
async fn loops(lab: &Arc<Lab>, hostile: Hostile<'_>) -> Outcome {
    const CALLS: usize = 400;
    let plugin = lab.probe(&none());
    let neighbour: &Neighbour = &lab.neighbour;
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let quiet = neighbour.p99(CALLS).await?;
        let running: Vec<_> = (0..4).map(|_| tokio::spawn(hostile(plugin.clone()))).collect();
        let disturbed = neighbour.p99(CALLS).await?;
        for call in running {
            ensure!(!call.is_finished(), "a hostile call ended by itself: {:?}", call.await);
            call.abort();
            let _ = call.await;
        }
        rounds.push((disturbed.saturating_sub(quiet), quiet, disturbed));
        if disturbed < quiet + Duration::from_millis(5) {
            break;
        }
    }
    let (added, quiet, disturbed) = rounds.iter().min().copied().unwrap();
    let text =
        format!("p99 of the neighbour {quiet:.1?}, beside four hostile guests {disturbed:.1?}: {added:.1?} more");
    if added < Duration::from_millis(5) { Ok(text) } else { Err(format!("{text}; all rounds: {rounds:?}")) }
}
