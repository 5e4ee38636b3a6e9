//! What a call of a plugin costs: a new store, an instance, the call, and dropping all of it; beside a bare wasmtime
//! call of the same component, pooled and asynchronous, in the same run and in turns, so that noise meets both.

use crate::{Form, Result};
use basb_capabilities::{Capabilities, Capability, Grants, Options};
use basb_core::{PluginName, Timestamp};
use basb_runtime::engine::engine;
use basb_runtime::wit::probe::{Measurement, Target};
use basb_runtime::wit::strategy::{Decision, LastOutcome, RolloutView, ServiceView, Side};
use basb_runtime::wit::types::{CallContext, Failure};
use basb_runtime::worlds::context;
use basb_runtime::{CacheFolder, CallOptions, LoadRequest, PoolSize, Runtime, RuntimeOptions, inspect};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;
use std::hint::black_box;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// How many calls of each kind
    #[arg(long, default_value_t = 20_000)]
    calls: u32,
    /// How many instances to keep alive at once
    #[arg(long, default_value_t = 10_000)]
    alive: u32,
    /// Components to load and to compile, instead of the builtin plugins
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// The `basb-host` binary, to measure how long it takes to start
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// The deployment file that the binary validates
    #[arg(long, value_name = "FILE", requires = "bin")]
    file: Option<PathBuf>,
}

/// One kind of plugin: this host, wasmtime's pool with its defaults, and wasmtime's pool with this host's settings.
#[derive(Serialize)]
struct Compared {
    ours_us: f64,
    bare_us: f64,
    ratio: f64,
    bare_tuned_us: f64,
    ratio_tuned: f64,
}

/// Everything that was measured.
#[derive(Serialize)]
struct Report {
    pure: Compared,
    probe: Compared,
    load_ms: f64,
    cold_compile_ms: f64,
    version_ms: Option<f64>,
    validate_ms: Option<f64>,
    alive: u32,
    alive_rss_mib: u64,
    calls: u32,
}

pub(crate) fn run(args: &Args) -> Result<String> {
    if cfg!(debug_assertions) {
        return Err("this is a debug build, whose figures mean nothing; run `cargo xtask bench plugin-call`".into());
    }
    let form = if args.json { Form::Json } else { Form::Text };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pure = basb_guest_build::build("guest-pure-echo");
    let probe = basb_guest_build::build("guest-misbehave");
    let (load_ms, cold_compile_ms) = loads(args.plugins.as_deref())?;
    let (alive, alive_rss_mib) = tokio.block_on(alive(&pure, args.alive))?;
    let report = Report {
        pure: tokio.block_on(compare_pure(&pure, args.calls))?,
        probe: tokio.block_on(compare_probe(&probe, args.calls))?,
        load_ms,
        cold_compile_ms,
        version_ms: args.bin.as_deref().map(|bin| started(bin, &["--version".as_ref()])).transpose()?,
        validate_ms: match (&args.bin, &args.file) {
            (Some(bin), Some(file)) => Some(started(bin, &["validate".as_ref(), file.as_os_str()])?),
            _ => None,
        },
        alive,
        alive_rss_mib,
        calls: args.calls,
    };
    Ok(match form {
        Form::Json => serde_json::to_string_pretty(&report)?,
        Form::Text => text(&report),
    })
}

fn text(report: &Report) -> String {
    let line = |name: &str, c: &Compared| {
        format!(
            "{name:<16} {:>8.1} us   bare wasmtime {:>8.1} us, ratio {:.2}   with our engine's settings {:>8.1} us, ratio {:.2}\n",
            c.ours_us, c.bare_us, c.ratio, c.bare_tuned_us, c.ratio_tuned
        )
    };
    let optional = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    format!(
        "{}{}load, warm cache {:>8.2} ms a plugin\ncompile, cold    {:>8.0} ms for all\nalive at once    {:>8} ({} MiB)\n--version        {:>11}\nvalidate         {:>11}",
        line("pure plugin", &report.pure),
        line("probe", &report.probe),
        report.load_ms,
        report.cold_compile_ms,
        report.alive,
        report.alive_rss_mib,
        optional(report.version_ms),
        optional(report.validate_ms),
    )
}

fn host(cache: Option<CacheFolder>, pool: PoolSize) -> Result<Runtime> {
    let mut options = RuntimeOptions::new(Capabilities::new(Options::new("/"))).with_pool(pool);
    options.cache = cache;
    Ok(Runtime::new(options)?)
}

/// A request that grants whatever the component imports, to places that do not exist.
fn request(bytes: &[u8]) -> Result<LoadRequest> {
    let inspection = inspect(bytes)?;
    let kind = inspection.kind.ok_or("not a plugin")?;
    let mut grants = serde_json::Map::new();
    for capability in inspection.capabilities() {
        let grant = match capability {
            Capability::Log => continue,
            Capability::Http => json!([{"host": "nowhere.invalid"}]),
            Capability::Tcp => json!([{"host": "nowhere.invalid", "port": 1}]),
            Capability::Exec => json!([{"program": "nothing", "path": "/bin/false"}]),
            Capability::Files => json!([{"folder": "nothing", "path": "/nowhere", "access": "read"}]),
            Capability::Smtp => json!([{"server": "nothing", "host": "nowhere.invalid", "port": 1}]),
        };
        grants.insert(capability.name().to_owned(), grant);
    }
    let grants = Grants::parse(&grants.into()).map_err(|problems| format!("{problems:?}"))?;
    Ok(LoadRequest { name: PluginName::new("bench")?, kind, grants, credentials: Vec::new() })
}

/// The slowest plugin's median load from a warm cache, and the time to compile all of them, in milliseconds.
fn loads(folder: Option<&Path>) -> Result<(f64, f64)> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    match folder {
        None => all.extend(basb_builtins::all().iter().map(|builtin| builtin.bytes.to_vec())),
        Some(folder) => {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "wasm") {
                    all.push(std::fs::read(path)?);
                }
            }
        }
    }
    let cache = tempfile::tempdir()?;
    let runtime = host(Some(CacheFolder::open(cache.path().join("code"))?), PoolSize::SMALL)?;
    let requests: Vec<LoadRequest> = all.iter().map(|bytes| request(bytes)).collect::<Result<_>>()?;
    let start = Instant::now();
    for (bytes, request) in all.iter().zip(&requests) {
        runtime.load_blocking(bytes, request.clone())?;
    }
    let cold = start.elapsed();
    let mut slowest = 0.0_f64;
    for (bytes, request) in all.iter().zip(&requests) {
        let mut times = Times::new()?;
        for _ in 0..50 {
            let request = request.clone();
            let start = Instant::now();
            black_box(runtime.load_blocking(bytes, request)?);
            times.add(start.elapsed())?;
        }
        slowest = slowest.max(times.median_us() / 1000.0);
    }
    Ok((slowest, cold.as_secs_f64() * 1000.0))
}

/// How many instances can be alive at once, and what they weigh together.
async fn alive(component: &[u8], count: u32) -> Result<(u32, u64)> {
    let runtime = host(None, PoolSize::instances(count))?;
    let plugin = runtime.load_blocking(component, request(component)?)?;
    let before = rss_mib();
    let mut held = Vec::new();
    for _ in 0..count {
        match plugin.hold().await {
            Ok(instance) => held.push(instance),
            Err(_) => break,
        }
    }
    Ok((u32::try_from(held.len())?, rss_mib().saturating_sub(before)))
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Wasmtime as its documentation sets it up for many short calls: pooled, interruptible, without concurrency.
fn bare_engine() -> Result<Engine> {
    let mut config = Config::new();
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_component_instances(64).max_memory_size(64 << 20);
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .memory_reservation(64 << 20)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    Ok(Engine::new(&config)?)
}

const TURN: u32 = 100;

fn view() -> RolloutView {
    let service = ServiceView {
        name: "capture".to_owned(),
        replicas: 2,
        abilities: vec!["split-traffic".to_owned()],
        weight_granularity: 1,
        analyses: vec!["latency".to_owned()],
        initial: false,
    };
    let candidate = Side { revision: "r0123456789ab".to_owned(), desired: 2, available: 2, weight: 1000 };
    let stable = Side { revision: "rba9876543210".to_owned(), desired: 2, available: 2, weight: 9000 };
    RolloutView { service, now: 1, candidate, stable: Some(stable), last: LastOutcome::Done, extras: Vec::new() }
}

/// A bare call: everything that wasmtime alone needs, and nothing else.
struct Bare<P, R> {
    engine: Engine,
    pre: InstancePre<()>,
    function: ComponentExportIndex,
    types: PhantomData<fn(P) -> R>,
}

impl<P: ComponentNamedList + Lower + Send + Sync, R: Lift + Send + Sync + 'static> Bare<P, R>
where
    (R,): ComponentNamedList + Lift,
{
    fn new(engine: Engine, component: &[u8], interface: &str, function: &str) -> Result<Self> {
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        // The imports are there, and trap.
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let interface = pre.component().get_export_index(None, interface).ok_or("no such interface")?;
        let function = pre.component().get_export_index(Some(&interface), function).ok_or("no such function")?;
        Ok(Self { engine, pre, function, types: PhantomData })
    }

    async fn call(&self, parameters: P) -> Result<R> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let function = instance.get_typed_func::<P, (R,)>(&mut store, self.function)?;
        Ok(function.call_async(&mut store, parameters).await?.0)
    }
}

async fn compare_pure(component: &[u8], calls: u32) -> Result<Compared> {
    type Returned = std::result::Result<Decision, Failure>;
    let ours = host(None, PoolSize::SMALL)?.load_blocking(component, request(component)?)?.strategy()?;
    let make = |engine| {
        Bare::<(String, RolloutView, Option<String>), Returned>::new(
            engine,
            component,
            "basb:host/strategy@0.1.0",
            "next",
        )
    };
    let (bare, tuned) = (make(bare_engine()?)?, make(engine(PoolSize::SMALL)?)?);
    let options = CallOptions::new(Duration::from_secs(10));
    let parameters = || ("{}".to_owned(), view(), Some("{\"step\":2}".to_owned()));
    let mut times = [Times::new()?, Times::new()?, Times::new()?];
    let [of_ours, of_bare, of_tuned] = &mut times;
    for _ in 0..calls / TURN {
        for _ in 0..TURN {
            let (config, view, state) = parameters();
            let start = Instant::now();
            black_box(ours.next(&options, config, view, state).await?);
            of_ours.add(start.elapsed())?;
        }
        for (bare, times) in [(&bare, &mut *of_bare), (&tuned, &mut *of_tuned)] {
            for _ in 0..TURN {
                let parameters = parameters();
                let start = Instant::now();
                black_box(bare.call(parameters).await?).map_err(|failure| failure.message)?;
                times.add(start.elapsed())?;
            }
        }
    }
    Ok(compared(&times))
}

async fn compare_probe(component: &[u8], calls: u32) -> Result<Compared> {
    let ours = host(None, PoolSize::SMALL)?.load_blocking(component, request(component)?)?.probe()?;
    let make =
        |engine| Bare::<(CallContext, Target), Measurement>::new(engine, component, "basb:host/probe@0.1.0", "check");
    let (bare, tuned) = (make(bare_engine()?)?, make(engine(PoolSize::SMALL)?)?);
    let options = CallOptions::new(Duration::from_secs(10));
    let parameters = || {
        let url = "http://127.0.0.1:8080".to_owned();
        let target = Target { service: "capture".to_owned(), revision: None, url, extras: Vec::new() };
        (context(Timestamp(1), &options, "\"nothing\""), target)
    };
    let mut times = [Times::new()?, Times::new()?, Times::new()?];
    let [of_ours, of_bare, of_tuned] = &mut times;
    for _ in 0..calls / TURN {
        for _ in 0..TURN {
            let (cx, target) = parameters();
            let start = Instant::now();
            black_box(ours.check(&options, cx, target).await?);
            of_ours.add(start.elapsed())?;
        }
        for (bare, times) in [(&bare, &mut *of_bare), (&tuned, &mut *of_tuned)] {
            for _ in 0..TURN {
                let parameters = parameters();
                let start = Instant::now();
                black_box(bare.call(parameters).await?);
                times.add(start.elapsed())?;
            }
        }
    }
    Ok(compared(&times))
}

fn compared([ours, bare, tuned]: &[Times; 3]) -> Compared {
    let (ours_us, bare_us, bare_tuned_us) = (ours.median_us(), bare.median_us(), tuned.median_us());
    Compared { ours_us, bare_us, ratio: ours_us / bare_us, bare_tuned_us, ratio_tuned: ours_us / bare_tuned_us }
}

/// Durations in nanoseconds.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Result<Self> {
        Ok(Self(Histogram::new(3)?))
    }

    fn add(&mut self, duration: Duration) -> Result<()> {
        Ok(self.0.record(u64::try_from(duration.as_nanos())?)?)
    }

    fn median_us(&self) -> f64 {
        std::time::Duration::from_nanos(self.0.value_at_quantile(0.5)).as_secs_f64() * 1e6
    }
}

/// The median time that a program takes from start to end, in milliseconds.
fn started(program: &Path, args: &[&std::ffi::OsStr]) -> Result<f64> {
    let mut times = Times::new()?;
    for _ in 0..31 {
        let start = Instant::now();
        let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        times.add(start.elapsed())?;
        if !status.success() {
            return Err(format!("{} {args:?} ended with {status}", program.display()).into());
        }
    }
    Ok(times.median_us() / 1000.0)
}
