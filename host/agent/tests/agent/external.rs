//! Instances that the agent did not start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use basb_agent::api::*;

use crate::support::{Agent, User, name, rev, role_command, start_time, until};

/// A service that somebody else runs. Ends when dropped.
struct Foreign(Child);

impl Foreign {
    fn start(port: u16, revision: &str) -> Self {
        let command = role_command();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .envs([("BASB_TEST_ROLE", "upstream"), ("REV", revision), ("PORT", &port.to_string())])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn external(addresses: &[(u32, SocketAddr)]) -> External {
    let ready = Ready {
        kind: ReadyKind::Http,
        path: Some("/healthz".to_owned()),
        interval_ms: Some(50),
        timeout_ms: Some(5_000),
        min_ready_ms: None,
    };
    let addresses = addresses.iter().map(|(number, address)| (InstanceId(*number), *address)).collect();
    External { ready: Some(ready), addresses }
}

fn put(external: External, replicas: u32) -> PutRevision {
    PutRevision { external: Some(external), replicas, ..PutRevision::default() }
}

async fn try_put(agent: &Agent, revision: &str, put: &PutRevision) -> Result<ServiceState, basb_agent::AgentError> {
    agent.client.put_revision(&name("a"), &rev(revision), put).await
}

fn ports(state: &ServiceState, revision: &str) -> Vec<u16> {
    state.revision(revision).unwrap().instances.iter().map(|instance| instance.port).collect()
}

fn code(result: Result<ServiceState, basb_agent::AgentError>) -> String {
    match result {
        Err(basb_agent::AgentError::Api { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_get_their_share_once_they_are_ready_and_are_drained_before_they_go() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "own", 1).await;
    let state = try_put(&agent, "theirs", &put(external(&[]), 2)).await.unwrap();
    let theirs = state.revision("theirs").unwrap();
    assert!(theirs.external && !state.revision("own").unwrap().external);
    assert_eq!((theirs.desired, theirs.available), (2, 0), "nobody listens there yet");
    let ports = ports(&state, "theirs");
    assert_eq!(ports.iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
    let refused = agent.try_weights("a", &[("theirs", 10_000)], None).await;
    assert_eq!(code(refused), "no-available-instance");

    let _first = Foreign::start(ports[0], "theirs-0");
    let _second = Foreign::start(ports[1], "theirs-1");
    agent.available("a", "theirs", 2).await;
    agent.weights("a", &[("own", 5_000), ("theirs", 5_000)]).await;
    let mut got = BTreeMap::<String, u32>::new();
    let mut user = User::of(address);
    for _ in 0..200 {
        *got.entry(user.get("/").await.unwrap().1).or_default() += 1;
    }
    assert_eq!(got["own"], 100, "{got:?}");
    assert_eq!(got["theirs-0"] + got["theirs-1"], 100, "{got:?}");
    assert!(got["theirs-0"] > 0 && got["theirs-1"] > 0, "{got:?}");

    // One of them is to go, with a request under way on it: it is named until that is finished.
    agent.weights("a", &[("theirs", 10_000)]).await;
    let held: Vec<_> = (0..2).map(|_| tokio::spawn(async move { User::of(address).get("/hold").await })).collect();
    let in_flight =
        async || (agent.service("a").await.revision("theirs").unwrap().requests.in_flight == 2).then_some(());
    until("both are held", in_flight).await;
    let state = try_put(&agent, "theirs", &put(external(&[]), 1)).await.unwrap();
    assert_eq!(state.revision("theirs").unwrap().instances.len(), 2);
    until("it drains", async || {
        let state = agent.service("a").await;
        let leaving = state.revision("theirs")?.instances.get(1)?.state == InstancePhase::Draining;
        leaving.then_some(())
    })
    .await;
    for port in &ports {
        User::of(SocketAddr::from(([127, 0, 0, 1], *port))).get("/go").await.unwrap();
    }
    for held in held {
        assert_eq!(held.await.unwrap().unwrap().0, 200, "no request was broken");
    }
    until("it is gone", async || (agent.service("a").await.revision("theirs")?.instances.len() == 1).then_some(()))
        .await;
    // The numbers and the ports of the others are as before, and the agent has killed nobody.
    assert_eq!(self::ports(&agent.service("a").await, "theirs"), ports[..1]);
    assert!(start_time(_second.0.id()).is_some());

    agent.weights("a", &[("own", 10_000)]).await;
    agent.client.retire_revision(&name("a"), &rev("theirs"), None).await.unwrap();
    agent.gone("a", "theirs").await;
    assert!(start_time(_first.0.id()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_answering_gets_no_requests_until_it_answers_again() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    let state = try_put(&agent, "r1", &put(external(&[]), 2)).await.unwrap();
    let ports = ports(&state, "r1");
    let _first = Foreign::start(ports[0], "zero");
    let second = Foreign::start(ports[1], "one");
    agent.available("a", "r1", 2).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    drop(second);
    let state = agent.available("a", "r1", 1).await;
    let gone = state.revision("r1").unwrap().instances[1].message.clone().unwrap();
    assert!(gone.starts_with("not ready: "), "{gone}");
    let mut user = User::of(address);
    for _ in 0..20 {
        assert_eq!(user.get("/").await.unwrap(), (200, "zero".to_owned()));
    }
    let _again = Foreign::start(ports[1], "one");
    agent.available("a", "r1", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_agent_goes_on_with_them_at_once() {
    let mut agent = Agent::apart().await;
    let address = agent.create("a").await.listen;
    let state = try_put(&agent, "r1", &put(external(&[]), 1)).await.unwrap();
    let port = ports(&state, "r1")[0];
    let _foreign = Foreign::start(port, "r1");
    agent.available("a", "r1", 1).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    for _ in 0..2 {
        agent.kill();
        agent.start_apart().await;
        let state = agent.service("a").await;
        assert_eq!(ports(&state, "r1"), [port]);
        assert_eq!(state.revision("r1").unwrap().available, 1, "it served, so it is taken to serve");
        assert_eq!(User::of(address).get("/").await.unwrap(), (200, "r1".to_owned()));
    }
    agent.stop(StopServices::Stop).await;
    assert!(start_time(_foreign.0.id()).is_some(), "it is not the agent's to stop");
    agent.start_here_with(|_| {}).await;
    agent.available("a", "r1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_of_this_machine_and_stay() {
    let agent = Agent::here().await;
    agent.create("a").await;
    let here = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let free = std::net::TcpListener::bind(here(0)).unwrap().local_addr().unwrap();
    for (address, why) in
        [("10.0.0.1:80", "a private address"), ("169.254.169.254:80", "a metadata service"), ("127.0.0.1:0", "no port")]
    {
        let refused = try_put(&agent, "r1", &put(external(&[(0, address.parse().unwrap())]), 1)).await;
        assert_eq!(code(refused), "invalid-request", "{why}");
    }
    let both = PutRevision { workload: Some(crate::support::workload("r1", &[])), ..put(external(&[]), 1) };
    assert_eq!(code(try_put(&agent, "r1", &both).await), "invalid-request");
    assert!(agent.service("a").await.revisions.is_empty(), "what was refused left nothing behind");

    let state = try_put(&agent, "r1", &put(external(&[(0, free)]), 2)).await.unwrap();
    assert_eq!(state.revision("r1").unwrap().instances[0].address, Some(free));
    assert_eq!(state.revision("r1").unwrap().instances[1].address, None);
    // The same again changes nothing; another address, or another check, is not the same.
    assert_eq!(
        ports(&try_put(&agent, "r1", &put(external(&[(0, free)]), 2)).await.unwrap(), "r1"),
        ports(&state, "r1")
    );
    let moved = try_put(&agent, "r1", &put(external(&[(0, here(9))]), 2)).await;
    assert_eq!(code(moved), "invalid-request");
    let other = External { ready: None, ..external(&[]) };
    assert_eq!(code(try_put(&agent, "r1", &put(other, 2)).await), "revision-immutable");
    // Nobody gets an address that somebody has, and what was asked for in vain changes nothing.
    let taken = try_put(&agent, "r2", &put(external(&[(0, free)]), 1)).await;
    assert_eq!(code(taken), "port-in-use");
    let scaled = try_put(&agent, "r1", &put(external(&[(2, here(ports(&state, "r1")[1]))]), 3)).await;
    assert_eq!(code(scaled), "port-in-use");
    let after = agent.service("a").await;
    assert_eq!((after.revisions.len(), after.revision("r1").unwrap().desired), (1, 2));
    // As it is, without being told once more how.
    let scale = PutRevision { replicas: 3, ..PutRevision::default() };
    assert_eq!(try_put(&agent, "r1", &scale).await.unwrap().revision("r1").unwrap().instances.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_saved_state_says_when_an_older_agent_cannot_read_it() {
    let format = |agent: &Agent| {
        let text = std::fs::read(agent.dir().join("agent.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["format"].clone()
    };
    let agent = Agent::here().await;
    agent.create("a").await;
    agent.put("a", "own", 0).await;
    assert_eq!(format(&agent), 1);
    try_put(&agent, "r1", &put(external(&[]), 1)).await.unwrap();
    assert_eq!(format(&agent), 2);
    agent.client.retire_revision(&name("a"), &rev("r1"), Some(Duration::ZERO)).await.unwrap();
    agent.gone("a", "r1").await;
    assert_eq!(format(&agent), 1);
}

/// Written by the first version that knew external instances; never edited.
#[tokio::test(flavor = "multi_thread")]
async fn what_format_2_says_is_understood() {
    let mut agent = Agent::here().await;
    agent.stop(StopServices::Keep).await;
    std::fs::write(agent.dir().join("agent.json"), include_bytes!("golden/agent-2.json")).unwrap();
    agent.start_here_with(|_| {}).await;
    let state = agent.service("brain.docker.capture").await;
    let revision = state.revision("r1").unwrap();
    assert_eq!((revision.external, revision.desired, revision.weight), (true, 2, Weight::FULL));
    let told: Vec<_> = revision.instances.iter().map(|i| (i.id.0, i.port, i.address.is_some())).collect();
    assert_eq!(told, [(0, 15_999, false), (3, 15_998, true)]);
    // One that is neither a process nor somebody else's is not guessed at.
    agent.stop(StopServices::Keep).await;
    let text = include_str!("golden/agent-2.json").replacen("\"external\"", "\"extern\"", 1);
    std::fs::write(agent.dir().join("agent.json"), text).unwrap();
    let error = basb_agent::server::serve(crate::support::options(agent.dir())).await.unwrap_err();
    assert_eq!(error.code(), "state-corrupt");
    std::fs::write(agent.dir().join("agent.json"), "{}").unwrap();
}
