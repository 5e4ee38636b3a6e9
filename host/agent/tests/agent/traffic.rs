//! Shares are exact, and nothing that changes breaks a request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use basb_agent::api::*;
use tokio::task::JoinHandle;

use crate::support::{Agent, User, name, rev, until};

/// Answers per revision, and what failed.
type Got = (BTreeMap<String, u64>, Vec<String>);

/// Users who ask again and again until told to stop; what they get is counted.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    users: Vec<JoinHandle<Got>>,
}

impl Load {
    fn start(address: SocketAddr, users: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let users = (0..users)
            .map(|_| {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                tokio::spawn(async move {
                    let (mut user, mut counts, mut failures) = (User::of(address), BTreeMap::new(), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        match user.get("/").await {
                            Ok((200, revision)) => *counts.entry(revision).or_default() += 1,
                            Ok((status, body)) => failures.push(format!("{status}: {body}")),
                            Err(error) => failures.push(error),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    (counts, failures)
                })
            })
            .collect();
        Self { stop, done, users }
    }

    /// Waits until so many more requests are through.
    async fn more(&self, requests: u64) {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        until("the load goes on", async || (self.done.load(Ordering::Relaxed) >= goal).then_some(())).await;
    }

    async fn end(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for user in self.users {
            let (counts, failures) = user.await.unwrap();
            assert!(failures.is_empty(), "{} failed requests, first: {:?}", failures.len(), failures.first());
            for (revision, count) in counts {
                *all.entry(revision).or_default() += count;
            }
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_exact_over_a_few_hundred_requests_after_each_change() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "old", 1).await;
    agent.up("a", "new", 2).await;
    for share in [0_u16, 100, 1_000, 2_500, 3_333, 9_000, 10_000] {
        agent.weights("a", &[("old", 10_000 - share), ("new", share)]).await;
        let each = 50;
        let users = (0..8).map(|_| {
            tokio::spawn(async move {
                let (mut user, mut new) = (User::of(address), 0_u32);
                for _ in 0..each {
                    let (status, revision) = user.get("/").await.unwrap();
                    assert_eq!(status, 200);
                    new += u32::from(revision == "new");
                }
                new
            })
        });
        let new: u32 = futures_util::future::join_all(users).await.into_iter().map(Result::unwrap).sum();
        let exact = f64::from(share) / 10_000.0 * 400.0;
        assert!((f64::from(new) - exact).abs() <= 1.0, "{new} of 400 at weight {share}");
    }
    let state = agent.service("a").await;
    let total: u64 = state.revisions.iter().map(|revision| revision.requests.total).sum();
    let failed: u64 = state.revisions.iter().map(|revision| revision.requests.failed).sum();
    assert_eq!((total, failed), (7 * 400, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_weights_move_and_a_revision_retires() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "old", 2).await;
    agent.weights("a", &[("old", 10_000)]).await;
    let load = Load::start(address, 8);
    load.more(200).await;
    agent.up("a", "new", 2).await;
    for share in (500..=10_000).step_by(500) {
        agent.weights("a", &[("old", 10_000 - share), ("new", share)]).await;
        load.more(50).await;
    }
    agent.client.retire_revision(&name("a"), &rev("old"), None).await.unwrap();
    agent.gone("a", "old").await;
    load.more(200).await;
    let counts = load.end().await;
    assert!(counts["old"] > 0 && counts["new"] > 0, "{counts:?}");
    assert_eq!(agent.service("a").await.revision("new").unwrap().requests.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_fails_when_an_instance_is_killed_under_load() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    let state = agent.up("a", "r1", 3).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    let load = Load::start(address, 8);
    load.more(200).await;
    for pid in Agent::pids(&state) {
        crate::support::signal(pid, rustix::process::Signal::KILL);
        load.more(100).await;
        until("it is restarted", async || {
            let state = agent.service("a").await;
            (state.revisions[0].available == 3 && !Agent::pids(&state).contains(&pid)).then_some(())
        })
        .await;
    }
    load.end().await;
    let state = agent.service("a").await;
    assert!(state.revisions[0].instances.iter().all(|instance| instance.restarts == 1));
    let exit = state.revisions[0].instances[0].last_exit.clone().unwrap();
    assert_eq!(exit.signal, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retiring_revision_finishes_what_is_under_way() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    let old = agent.up("a", "old", 1).await;
    let port = old.revision("old").unwrap().instances[0].port;
    agent.up("a", "new", 1).await;
    agent.weights("a", &[("old", 10_000)]).await;
    let held = tokio::spawn(async move { User::of(address).get("/hold").await });
    let in_flight = async || agent.service("a").await.revision("old").map(|revision| revision.requests.in_flight);
    until("the request is under way", async || (in_flight().await == Some(1)).then_some(())).await;
    agent.weights("a", &[("new", 10_000)]).await;
    agent.client.retire_revision(&name("a"), &rev("old"), Some(Duration::from_secs(50))).await.unwrap();
    until("it drains", async || {
        let state = agent.service("a").await;
        (state.revision("old")?.instances[0].state == InstancePhase::Draining).then_some(())
    })
    .await;
    assert_eq!(User::of(address).get("/").await.unwrap(), (200, "new".to_owned()));
    // Straight to the instance, past the proxy: now it may answer.
    let direct = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(User::of(direct).get("/go").await.unwrap().0, 200);
    assert_eq!(held.await.unwrap().unwrap(), (200, "old".to_owned()));
    agent.gone("a", "old").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_reaches_its_revision_only() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "old", 1).await;
    let state = agent.up("a", "new", 1).await;
    agent.weights("a", &[("old", 10_000)]).await;
    let mut preview = User::of_url(&state.revision("new").unwrap().preview_url);
    let mut user = User::of(address);
    for _ in 0..20 {
        assert_eq!(preview.get("/").await.unwrap(), (200, "new".to_owned()));
        assert_eq!(user.get("/").await.unwrap(), (200, "old".to_owned()));
    }
    assert_eq!(agent.service("a").await.revision("new").unwrap().requests.total, 20);
}
