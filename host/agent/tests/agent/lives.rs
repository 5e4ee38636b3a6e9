//! Agents come and go; services stay.

use basb_agent::api::*;
use rustix::process::Signal;

use crate::support::{Agent, User, name, options, rev, role_command, signal, start_time, until};

#[tokio::test(flavor = "multi_thread")]
async fn services_and_weights_survive_a_stop() {
    let mut agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "old", 1).await;
    agent.up("a", "new", 2).await;
    let before = agent.weights("a", &[("old", 7_000), ("new", 3_000)]).await;
    agent.stop(StopServices::Keep).await;
    assert_eq!(agent.client.agent().await.unwrap_err().code(), "not-running");
    assert!(User::of(address).get("/").await.is_err());
    for pid in Agent::pids(&before) {
        assert!(start_time(pid).is_some(), "{pid} ended with the agent");
    }

    agent.start_here_with(|_| {}).await;
    let after = agent.available("a", "new", 2).await;
    assert_eq!(Agent::pids(&after), Agent::pids(&before));
    assert_eq!((after.version, after.listen), (before.version, before.listen));
    let weights = |state: &ServiceState| state.revisions.iter().map(|r| (r.id.clone(), r.weight)).collect::<Vec<_>>();
    let previews = |state: &ServiceState| state.revisions.iter().map(|r| r.preview_url.clone()).collect::<Vec<_>>();
    assert_eq!((weights(&after), previews(&after)), (weights(&before), previews(&before)));
    let mut user = User::of(address);
    let mut new = 0;
    for _ in 0..100 {
        let (status, revision) = user.get("/").await.unwrap();
        assert_eq!(status, 200);
        new += u32::from(revision == "new");
    }
    assert_eq!(new, 30);

    // Adopted processes are watched: one that dies is replaced.
    let pid = Agent::pids(&after)[0];
    signal(pid, Signal::KILL);
    until("it is replaced", async || {
        let state = agent.service("a").await;
        let whole = state.revisions.iter().all(|revision| revision.available == revision.desired);
        (whole && !Agent::pids(&state).contains(&pid)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_survive_the_agents_sudden_death() {
    let mut agent = Agent::apart().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "old", 1).await;
    agent.up("a", "new", 1).await;
    let before = agent.weights("a", &[("old", 5_000), ("new", 5_000)]).await;
    let pids = Agent::pids(&before);
    agent.kill();
    // One dies while nobody watches.
    signal(pids[0], Signal::KILL);
    until("it is gone", async || start_time(pids[0]).is_none().then_some(())).await;
    assert!(start_time(pids[1]).is_some());

    agent.start_apart().await;
    until("what died is started again", async || {
        let state = agent.service("a").await;
        state.revisions.iter().all(|revision| revision.available == 1).then_some(())
    })
    .await;
    let after = agent.service("a").await;
    let now = Agent::pids(&after);
    assert!(now.len() == 2 && now.contains(&pids[1]) && !now.contains(&pids[0]), "{pids:?} became {now:?}");
    assert_eq!(after.version, before.version);
    assert_eq!(User::of(address).get("/").await.unwrap().0, 200);

    // It also takes an adopted process down in good order, with nothing left.
    agent.weights("a", &[]).await;
    agent.client.delete_service(&name("a"), None).await.unwrap();
    until("all is gone", async || agent.client.services().await.unwrap().is_empty().then_some(())).await;
    assert!(now.iter().all(|pid| start_time(*pid).is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_agent_at_any_moment_neither_loses_nor_doubles_a_process() {
    let mut agent = Agent::apart().await;
    agent.create("a").await;
    for round in 0..6_u64 {
        let id = format!("r{round}");
        agent.put("a", &id, 3).await;
        // Somewhere between the intent and the running process; the moment differs from round to round.
        tokio::time::sleep(std::time::Duration::from_micros(round * 700)).await;
        agent.kill();
        agent.start_apart().await;
        agent.available("a", &id, 3).await;
    }
    let state = agent.service("a").await;
    let known = Agent::pids(&state);
    assert_eq!(known.len(), 18);
    // Every process that serves for this folder is one that the agent knows.
    let marker = std::fs::read_to_string(agent.dir().join("agent.json")).unwrap();
    let marker: serde_json::Value = serde_json::from_str(&marker).unwrap();
    let token = marker["services"]["a"]["revisions"]["r0"]["instances"]["0"]["token"].as_str().unwrap().to_owned();
    let prefix = token.split('.').next().unwrap();
    until("no more processes than known ones", async || {
        let mut running = with_token(prefix);
        let mut known = known.clone();
        running.sort_unstable();
        known.sort_unstable();
        (running == known).then_some(())
    })
    .await;
    agent.stop(StopServices::Stop).await;
    assert!(known.iter().all(|pid| start_time(*pid).is_none()));
}

fn with_token(prefix: &str) -> Vec<u32> {
    let wanted = format!("BASB_INSTANCE={prefix}.");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            start_time(*pid).is_some()
                && environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(wanted.as_bytes()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_never_written_down_is_found_again() {
    let mut agent = Agent::apart().await;
    agent.create("a").await;
    let before = Agent::pids(&agent.up("a", "r1", 1).await);
    agent.kill();
    // As if the agent had died between starting the process and writing down its id; and, next to it, a process whose
    // instance nobody knows.
    let path = agent.dir().join("agent.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let instance = &mut state["services"]["a"]["revisions"]["r1"]["instances"]["0"];
    instance["process"] = serde_json::Value::Null;
    let token = instance["token"].as_str().unwrap().to_owned();
    std::fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
    let prefix = token.split('.').next().unwrap();
    let mut stray = std::process::Command::new("/bin/sleep")
        .arg("600")
        .env("BASB_INSTANCE", format!("{prefix}.nobody"))
        .spawn()
        .unwrap();

    agent.start_apart().await;
    assert_eq!(Agent::pids(&agent.available("a", "r1", 1).await), before);
    let ended = until("the stray is stopped", async || stray.try_wait().unwrap()).await;
    assert!(!ended.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_with_services_stops_them_and_starts_them_again() {
    let mut agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "r1", 2).await;
    let before = agent.weights("a", &[("r1", 10_000)]).await;
    agent.stop(StopServices::Stop).await;
    assert!(Agent::pids(&before).iter().all(|pid| start_time(*pid).is_none()));
    agent.start_here_with(|_| {}).await;
    let after = agent.available("a", "r1", 2).await;
    assert_eq!(after.revision("r1").unwrap().weight, Weight::FULL);
    assert_eq!(User::of(address).get("/").await.unwrap(), (200, "r1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_taken_meanwhile_is_opened_once_it_is_free() {
    let mut agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "r1", 1).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    agent.stop(StopServices::Keep).await;
    let taken = std::net::TcpListener::bind(address).unwrap();
    agent.start_here_with(|_| {}).await;
    let message = agent.service("a").await.message.unwrap();
    assert!(message.contains(&address.to_string()), "{message}");
    drop(taken);
    until("it is opened", async || agent.service("a").await.message.is_none().then_some(())).await;
    assert_eq!(User::of(address).get("/").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_cannot_be_read_is_kept_and_nothing_is_stopped() {
    let mut agent = Agent::here().await;
    agent.create("a").await;
    let pids = Agent::pids(&agent.up("a", "r1", 1).await);
    agent.stop(StopServices::Keep).await;
    let path = agent.dir().join("agent.json");
    let good = std::fs::read(&path).unwrap();
    let bad = &good[..good.len() / 2];
    std::fs::write(&path, bad).unwrap();
    for _ in 0..2 {
        let error = basb_agent::server::serve(options(agent.dir())).await.unwrap_err();
        assert_eq!(error.code(), "state-corrupt");
        assert!(error.to_string().contains("agent.json.corrupt-0"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bad);
    assert_eq!(std::fs::read(agent.dir().join("agent.json.corrupt-0")).unwrap(), bad);
    assert!(!agent.dir().join("agent.json.corrupt-1").exists());
    assert!(start_time(pids[0]).is_some());
    // Repaired, all is as before.
    std::fs::write(&path, &good).unwrap();
    agent.start_here_with(|_| {}).await;
    assert_eq!(Agent::pids(&agent.available("a", "r1", 1).await), pids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_stopped_as_a_whole_and_by_force_when_it_must() {
    let agent = Agent::here().await;
    agent.create("a").await;
    let mut stubborn = crate::support::workload("r1", &[]);
    // Ignores SIGTERM, and has a child that does.
    let role = role_command().iter().map(|part| format!("'{part}'")).collect::<Vec<_>>().join(" ");
    stubborn.command = ["/bin/sh", "-c", &format!("trap '' TERM; sleep 600 & {role}; wait")].map(str::to_owned).into();
    stubborn.stop_grace_ms = Some(200);
    agent.put_workload("a", "r1", stubborn, 1).await;
    let state = agent.available("a", "r1", 1).await;
    let leader = Agent::pids(&state)[0];
    let group = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let rest = text.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
                let mut fields = rest.split_ascii_whitespace();
                fields.next().is_some_and(|state| state != "Z") && fields.nth(1) == Some(leader.to_string().as_str())
            })
            .count()
    };
    assert!(group() >= 2);
    agent.client.retire_revision(&name("a"), &rev("r1"), None).await.unwrap();
    agent.gone("a", "r1").await;
    until("the whole group is gone", async || (group() == 0).then_some(())).await;
}
