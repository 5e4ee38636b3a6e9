//! Logs: tail, follow, selection, survival.

use basb_agent::api::*;

use crate::support::{Agent, User, name, rev, until, workload};

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_tailed_and_followed() {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "r1", 1).await;
    agent.up("a", "r2", 1).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    let client = &agent.client;
    let all = client.logs(&name("a"), &LogQuery::default()).await.unwrap();
    assert!(all.contains("r1/0 upstream r1 starts\n") && all.contains("r2/0 upstream r2 starts\n"), "{all}");

    let mut user = User::of(address);
    for word in ["one", "two"] {
        user.get(&format!("/say?{word}")).await.unwrap();
    }
    let query = LogQuery { revision: Some(rev("r1")), instance: Some(InstanceId(0)), tail: Some(1) };
    until("the line is there", async || {
        (client.logs(&name("a"), &query).await.unwrap() == "r1/0 said two\n").then_some(())
    })
    .await;

    let mut follow = client.follow_logs(&name("a"), &query).await.unwrap();
    assert_eq!(follow.next_line().await.unwrap().unwrap(), "r1/0 said two");
    user.get("/say?three").await.unwrap();
    assert_eq!(follow.next_line().await.unwrap().unwrap(), "r1/0 said three");

    assert_eq!(client.logs(&name("nobody"), &query).await.unwrap_err().code(), "no-such-service");
    let none = LogQuery { revision: Some(rev("r9")), ..LogQuery::default() };
    assert_eq!(client.logs(&name("a"), &none).await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_outlive_revisions_and_agents() {
    let mut agent = Agent::here().await;
    agent.create("a").await;
    let state = agent.up("a", "r1", 1).await;
    let preview = state.revision("r1").unwrap().preview_url.clone();
    agent.stop(StopServices::Keep).await;
    agent.start_here_with(|_| {}).await;
    agent.available("a", "r1", 1).await;
    // The process writes to its log itself, whoever watches it.
    User::of_url(&preview).get("/say?still").await.unwrap();
    until("the line is there", async || {
        let logs = agent.client.logs(&name("a"), &LogQuery::default()).await.unwrap();
        logs.contains("r1/0 said still\n").then_some(())
    })
    .await;
    agent.client.retire_revision(&name("a"), &rev("r1"), None).await.unwrap();
    agent.gone("a", "r1").await;
    let logs = agent.client.logs(&name("a"), &LogQuery::default()).await.unwrap();
    assert!(logs.contains("said still"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talkative_service_does_not_fill_the_disk() {
    let agent = Agent::here_with(|options| options.log_limit = 20_000).await;
    agent.create("a").await;
    let mut talker = workload("r1", &[]);
    talker.command =
        ["/bin/sh", "-c", "while :; do echo 'a line that says nothing new'; done"].map(str::to_owned).into();
    talker.ready =
        Some(Ready { kind: ReadyKind::None, path: None, interval_ms: None, timeout_ms: None, min_ready_ms: None });
    agent.put_workload("a", "r1", talker, 1).await;
    let log = agent.dir().join("logs/a/r1-0.log");
    let older = agent.dir().join("logs/a/r1-0.log.1");
    let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |facts| facts.len());
    let rotations = std::cell::Cell::new(0);
    let last = std::cell::Cell::new(0);
    until("the log was emptied a few times", async || {
        let now = size(&log);
        if now < last.replace(now) {
            rotations.set(rotations.get() + 1);
        }
        (rotations.get() >= 2).then_some(())
    })
    .await;
    assert!(size(&older) <= 20_000);
}
