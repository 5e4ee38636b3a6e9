//! Our proxy and HAProxy in turns, in front of the same processes, while weights change.

use super::lab::{Lab, wait_for};
use super::report::{Fast, Kill, Round, Rounds};
use crate::Result;
use crate::haproxy::{HaProxy, Server, Side};
use crate::load::{Call, Load, Recorded};
use crate::load_reply::Answer;
use basb_agent::api::{
    InstancePhase, PutRevision, PutService, PutTraffic, Ready, ReadyKind, RevisionId, ServiceName, ServiceState,
    Weight, Workload,
};
use basb_agent::client::Client;
use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Processes of each revision.
const REPLICAS: u32 = 2;

/// The candidate's weights, in percent, that follow each other in a round.
const WEIGHTS: [u16; 5] = [10, 30, 50, 80, 100];

/// Connections are opened and caches filled before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// What was measured of both.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) mcp: Fast,
    pub(crate) fast: Fast,
    pub(crate) kill: Kill,
    pub(crate) examples: Vec<String>,
}

/// Runs the rounds.
pub(crate) async fn measure(lab: &Lab) -> Result<Compared> {
    let state = lab.folder("compare")?;
    let client = lab.start_agent(&state).await?;
    let bench = Bench { lab, client, examples: RefCell::default() };
    let vault = lab.folder("compare-vault")?;
    let mcp = bench
        .service("mcp", |release| {
            let program = lab.args.example.display().to_string();
            let vault = vault.display().to_string();
            let listen = "127.0.0.1:{port}";
            [&program, "capture", "--vault", &vault, "--listen", listen, "--release", release].map(str::to_owned).into()
        })
        .await?;
    let of_mcp = bench.rounds(&mcp).await?;
    let kill = bench.kill(&mcp).await?;
    bench.client.delete_service(&mcp, None).await?;
    let this = std::env::current_exe()?.display().to_string();
    let fast = bench
        .service("fast", |release| [&this, "rollout-upstream", "--release", release].map(str::to_owned).into())
        .await?;
    let of_fast = bench.rounds(&fast).await?;
    Ok(Compared { mcp: of_mcp, fast: of_fast, kill, examples: bench.examples.into_inner() })
}

struct Bench<'a> {
    lab: &'a Lab,
    client: Client,
    examples: RefCell<Vec<String>>,
}

/// One of the two proxies, ready to be measured.
enum Proxy<'a> {
    Ours { client: &'a Client, service: &'a ServiceName, address: SocketAddr, pid: u32 },
    HaProxy(Box<HaProxy>),
}

impl Proxy<'_> {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Ours { address, .. } => *address,
            Self::HaProxy(haproxy) => haproxy.address,
        }
    }

    /// The processor time that it has used so far, in seconds.
    fn cpu(&self) -> Result<f64> {
        let pid = match self {
            Self::Ours { pid, .. } => *pid,
            Self::HaProxy(haproxy) => haproxy.pid().ok_or("HAProxy has ended")?,
        };
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = text.rsplit_once(')').ok_or("no times of the process")?.1.split_ascii_whitespace();
        // utime and stime, in clock ticks.
        let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<std::result::Result<_, _>>()?;
        Ok(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    async fn weigh(&self, candidate: u16) -> Result<()> {
        match self {
            Self::Ours { client, service, .. } => weigh(client, service, candidate).await,
            Self::HaProxy(haproxy) => haproxy.weigh(candidate).await,
        }
    }
}

async fn weigh(client: &Client, service: &ServiceName, candidate: u16) -> Result<()> {
    let weights = BTreeMap::from([
        (RevisionId::new("r1")?, Weight::new((100 - candidate.min(100)) * 100)?),
        (RevisionId::new("r2")?, Weight::new(candidate.min(100) * 100)?),
    ]);
    client.put_traffic(service, &PutTraffic { weights, expect_version: None }).await?;
    Ok(())
}

impl Bench<'_> {
    /// A service with a stable revision and a candidate, all instances available.
    async fn service(&self, name: &str, command: impl Fn(&str) -> Vec<String>) -> Result<ServiceName> {
        let service = ServiceName::new(name)?;
        self.client.put_service(&service, &PutService { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }).await?;
        for release in ["1", "2"] {
            let workload = Workload {
                command: command(release),
                working_folder: None,
                env: BTreeMap::new(),
                ready: Some(Ready {
                    kind: ReadyKind::Http,
                    path: Some("/healthz".to_owned()),
                    interval_ms: None,
                    timeout_ms: None,
                    min_ready_ms: None,
                }),
                limits: None,
                stop_grace_ms: None,
            };
            let put = PutRevision { workload: Some(workload), replicas: REPLICAS, ..PutRevision::default() };
            self.client.put_revision(&service, &RevisionId::new(format!("r{release}"))?, &put).await?;
        }
        self.available(&service).await?;
        weigh(&self.client, &service, 0).await?;
        Ok(service)
    }

    async fn available(&self, service: &ServiceName) -> Result<ServiceState> {
        wait_for(&self.client, service, "all instances are available", |state| {
            state.revisions.iter().all(|revision| revision.available == REPLICAS)
        })
        .await
    }

    /// The proxies that there are, the first one changing from round to round.
    fn order(&self, round: u32) -> Vec<Which> {
        let mut order = vec![Which::Ours];
        if self.lab.args.haproxy.is_ok() {
            order.push(Which::HaProxy);
        }
        if round % 2 == 1 {
            order.reverse();
        }
        order
    }

    async fn proxy<'a>(&'a self, side: Which, service: &'a ServiceName) -> Result<Proxy<'a>> {
        let state = self.available(service).await?;
        match (side, &self.lab.args.haproxy) {
            (Which::HaProxy, Ok(program)) => {
                let folder = self.lab.folder("haproxy")?;
                Ok(Proxy::HaProxy(Box::new(HaProxy::start(program, &folder, servers(&state)).await?)))
            }
            _ => {
                let pid = self.client.agent().await?.pid;
                Ok(Proxy::Ours { client: &self.client, service, address: state.listen, pid })
            }
        }
    }

    async fn rounds(&self, service: &ServiceName) -> Result<Fast> {
        let mut rounds = Rounds::default();
        for number in 0..self.lab.args.rounds {
            for side in self.order(number) {
                let proxy = self.proxy(side, service).await?;
                let (round, examples) = self.round(&proxy).await?;
                match side {
                    Which::Ours => rounds.ours.push(round),
                    Which::HaProxy => rounds.haproxy.push(round),
                }
                self.end(proxy, examples).await?;
            }
        }
        Ok(rounds.compared(self.lab.args.haproxy_or_reason().await))
    }

    async fn end(&self, proxy: Proxy<'_>, examples: Vec<String>) -> Result<()> {
        let name = if matches!(proxy, Proxy::Ours { .. }) { "ours" } else { "HAProxy" };
        let named: Vec<String> = examples.into_iter().map(|example| format!("{name}: {example}")).collect();
        if let Proxy::HaProxy(haproxy) = proxy {
            haproxy.stop().await?;
        }
        self.examples.borrow_mut().extend(named);
        Ok(())
    }

    /// A load during which the weights change.
    async fn round(&self, proxy: &Proxy<'_>) -> Result<(Round, Vec<String>)> {
        proxy.weigh(0).await?;
        let load = Load::start(proxy.address(), Call::Tool, self.lab.args.connections)?;
        tokio::time::sleep(WARM_UP).await;
        let (began, cpu) = (now()?, proxy.cpu()?);
        let stretch = self.lab.args.round().div_f64(WEIGHTS.len() as f64 + 1.0);
        tokio::time::sleep(stretch).await;
        for weight in WEIGHTS {
            proxy.weigh(weight).await?;
            tokio::time::sleep(stretch).await;
        }
        let (ended, cpu) = (now()?, proxy.cpu()? - cpu);
        let recorded = load.stop()?;
        let round = figures(&recorded, began, ended, cpu)?;
        Ok((round, recorded.examples))
    }

    /// Kills one instance after the other, each under a load of its own.
    async fn kill(&self, service: &ServiceName) -> Result<Kill> {
        let mut kill = Kill::default();
        let (mut requests, mut failed) = (0, 0);
        for number in 0..self.lab.args.rounds {
            for side in self.order(number) {
                let proxy = self.proxy(side, service).await?;
                proxy.weigh(50).await?;
                let load = Load::start(proxy.address(), Call::Health, self.lab.args.connections)?;
                tokio::time::sleep(WARM_UP).await;
                self.kill_one(service, number).await?;
                tokio::time::sleep(self.lab.args.round().div_f64(2.0)).await;
                let recorded = load.stop()?;
                let these = recorded.samples.len() as u64;
                let bad = failures(&recorded);
                match side {
                    Which::Ours => {
                        kill.requests += these;
                        kill.failed += bad;
                        kill.killed += 1;
                    }
                    Which::HaProxy => {
                        requests += these;
                        failed += bad;
                    }
                }
                self.end(proxy, recorded.examples).await?;
            }
        }
        if self.lab.args.haproxy.is_ok() {
            (kill.haproxy_requests, kill.haproxy_failed) = (Some(requests), Some(failed));
        }
        Ok(kill)
    }

    /// Kills an instance, another one each time.
    async fn kill_one(&self, service: &ServiceName, number: u32) -> Result<()> {
        let state = self.client.service(service).await?;
        let revision = state.revisions.get(number as usize % 2).ok_or("a revision is gone")?;
        let instance = revision.instances.get((number as usize / 2) % 2).ok_or("an instance is gone")?;
        let pid = instance.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).ok_or("it has no process")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }
}

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Ours,
    HaProxy,
}

fn servers(state: &ServiceState) -> Vec<Server> {
    let mut servers = Vec::new();
    for revision in &state.revisions {
        let side = if revision.id.as_str() == "r1" { Side::Stable } else { Side::Candidate };
        for instance in revision.instances.iter().filter(|instance| instance.state == InstancePhase::Available) {
            servers.push(Server {
                name: format!("{}-{}", revision.id, instance.id),
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port)),
                side,
            });
        }
    }
    servers
}

fn failures(recorded: &Recorded) -> u64 {
    recorded.samples.iter().filter(|sample| matches!(sample.answer, Answer::Failed(_))).count() as u64
}

fn figures(recorded: &Recorded, began: u64, ended: u64, cpu: f64) -> Result<Round> {
    let mut times = Histogram::<u64>::new(3)?;
    for sample in recorded.samples.iter().filter(|sample| sample.ended >= began && sample.ended <= ended) {
        times.record(sample.ended.saturating_sub(sample.began))?;
    }
    let seconds = ended.saturating_sub(began) as f64 / 1e6;
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Round {
        rps: times.len() as f64 / seconds,
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        requests: recorded.samples.len() as u64,
        failed: failures(recorded),
        cpu_us: cpu * 1e6 / times.len() as f64,
    })
}

fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
