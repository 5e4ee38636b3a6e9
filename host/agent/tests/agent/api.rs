//! The API's answers, good and bad.

use basb_agent::AgentError;
use basb_agent::api::*;
use basb_agent::client::Client;
use http::Method;
use std::time::Duration;

use crate::support::{Agent, User, name, rev, role_command, until, workload};

fn code(result: Result<impl std::fmt::Debug, AgentError>) -> (u16, String) {
    let error = result.unwrap_err();
    assert!(!error.next().is_empty());
    (error.status().as_u16(), error.code().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_the_api() {
    let agent = Agent::here().await;
    let client = &agent.client;
    let info = client.agent().await.unwrap();
    assert_eq!((info.api_version, info.pid), (1, std::process::id()));
    assert_eq!(info.state_dir, agent.dir().display().to_string());
    assert_eq!(client.services().await.unwrap(), []);

    let state = agent.create("mail.search").await;
    assert_eq!((state.version, state.url.clone()), (0, format!("http://{}", state.listen)));
    let again = client.put_service(&name("mail.search"), &PutService { listen: state.listen }).await.unwrap();
    assert_eq!(again, state);
    assert_eq!(User::of(state.listen).get("/").await.unwrap().0, 503);

    let state = agent.up("mail.search", "r1", 2).await;
    let revision = state.revision("r1").unwrap();
    assert_eq!((revision.desired, revision.available, revision.weight), (2, 2, Weight::ZERO));
    assert!(revision.workload_digest.starts_with("sha256:"));
    assert!(
        revision.instances.iter().all(|instance| instance.state == InstancePhase::Available && instance.pid.is_some())
    );

    let state = agent.weights("mail.search", &[("r1", 10_000)]).await;
    assert_eq!((state.version, state.revisions[0].weight), (1, Weight::FULL));
    assert_eq!(User::of(state.listen).get("/").await.unwrap(), (200, "r1".to_owned()));
    assert_eq!(agent.weights("mail.search", &[("r1", 10_000)]).await.version, 1, "no change, no new version");

    let state = agent.put("mail.search", "r1", 1).await;
    assert_eq!(state.revision("r1").unwrap().desired, 1);
    until("one instance leaves", async || {
        (agent.service("mail.search").await.revisions[0].instances.len() == 1).then_some(())
    })
    .await;

    assert_eq!(
        code(client.retire_revision(&name("mail.search"), &rev("r1"), None).await),
        (409, "revision-has-traffic".into())
    );
    let put = PutRevision { workload: Some(workload("r1", &[])), replicas: 0, ..PutRevision::default() };
    assert_eq!(
        code(client.put_revision(&name("mail.search"), &rev("r1"), &put).await),
        (409, "revision-has-traffic".into())
    );
    agent.weights("mail.search", &[]).await;
    let state = client.retire_revision(&name("mail.search"), &rev("r1"), None).await.unwrap();
    assert!(state.revision("r1").unwrap().retiring);
    agent.gone("mail.search", "r1").await;
    client.retire_revision(&name("mail.search"), &rev("r1"), None).await.unwrap();

    client.delete_service(&name("mail.search"), None).await.unwrap();
    until("the service is gone", async || client.services().await.unwrap().is_empty().then_some(())).await;
    assert_eq!(client.delete_service(&name("mail.search"), None).await.unwrap(), None);
    assert!(User::of(state.listen).get("/").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_codes_and_next_steps() {
    let agent = Agent::here().await;
    let client = &agent.client;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = client.put_service(&name("a"), &PutService { listen: address }).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (409, "port-in-use"));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let far = PutService { listen: "0.0.0.0:0".parse().unwrap() };
    assert_eq!(code(client.put_service(&name("a"), &far).await), (400, "not-loopback".into()));

    let first = agent.create("a").await;
    let same = PutService { listen: first.listen };
    let error = client.put_service(&name("b"), &same).await.unwrap_err();
    assert!(error.code() == "port-in-use" && error.to_string().contains("`a`"), "{error}");

    assert_eq!(code(client.service(&name("nobody")).await), (404, "no-such-service".into()));
    assert_eq!(code(agent.try_weights("a", &[("r9", 10_000)], None).await), (404, "no-such-revision".into()));
    agent.up("a", "r1", 1).await;
    let other = PutRevision { workload: Some(workload("r1", &[("X", "1")])), replicas: 1, ..PutRevision::default() };
    assert_eq!(code(client.put_revision(&name("a"), &rev("r1"), &other).await), (409, "revision-immutable".into()));
    assert_eq!(code(agent.try_weights("a", &[("r1", 9_999)], None).await), (400, "invalid-request".into()));
    assert_eq!(code(agent.try_weights("a", &[("r1", 10_000)], Some(7)).await), (409, "version-conflict".into()));
    assert_eq!(agent.try_weights("a", &[("r1", 10_000)], Some(0)).await.unwrap().version, 1);

    agent.put("a", "r0", 0).await;
    assert_eq!(code(agent.try_weights("a", &[("r0", 10_000)], None).await), (409, "no-available-instance".into()));

    let raw = async |method, path: &str, body: serde_json::Value| -> (u16, String) {
        code(client.call::<serde_json::Value>(method, path, Some(&body)).await)
    };
    assert_eq!(raw(Method::GET, "/v1/nothing", serde_json::json!(1)).await, (404, "no-such-route".into()));
    assert_eq!(raw(Method::PUT, "/v1/services/UPPER", serde_json::json!({"listen": "127.0.0.1:0"})).await.0, 400);
    assert_eq!(raw(Method::PUT, "/v1/services/..", serde_json::json!({"listen": "127.0.0.1:0"})).await.0, 400);
    assert_eq!(raw(Method::PUT, "/v1/services/x", serde_json::json!({"listne": "127.0.0.1:0"})).await.0, 400);
    let large = serde_json::json!({ "listen": "x".repeat(1_100_000) });
    assert_eq!(raw(Method::PUT, "/v1/services/x", large).await, (413, "body-too-large".into()));
    let mut bad = workload("r2", &[]);
    bad.env.insert("A-B".into(), "1".into());
    let bad = PutRevision { workload: Some(bad), replicas: 1, ..PutRevision::default() };
    assert_eq!(code(client.put_revision(&name("a"), &rev("r2"), &bad).await), (400, "invalid-request".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_at_once_is_given_up_and_explained() {
    let agent = Agent::here().await;
    agent.create("a").await;
    agent.put_workload("a", "bad", workload("bad", &[("MODE", "exit")]), 1).await;
    let instance = until("the instance is given up", async || {
        let instance = agent.service("a").await.revisions[0].instances[0].clone();
        (instance.state == InstancePhase::Failed).then_some(instance)
    })
    .await;
    let message = instance.message.unwrap();
    assert!(message.contains("exit code 3") && message.contains("cannot find the database"), "{message}");
    assert_eq!((instance.restarts, instance.last_exit.unwrap().code, instance.pid), (3, Some(3), None));
    let error = agent.try_weights("a", &[("bad", 10_000)], None).await.unwrap_err();
    assert!(error.code() == "no-available-instance" && error.to_string().contains("exit code 3"), "{error}");

    let mut missing = workload("missing", &[]);
    missing.command = vec!["no-such-program-anywhere".into()];
    agent.put_workload("a", "missing", missing, 1).await;
    until("the missing program is explained", async || {
        let state = agent.service("a").await;
        let instance = &state.revision("missing").unwrap().instances[0];
        let explained = instance.message.as_ref().is_some_and(|message| message.contains("no-such-program-anywhere"));
        (instance.state == InstancePhase::Failed && explained).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_clean_and_limits_hold() {
    let agent = Agent::here().await;
    agent.create("a").await;
    let mut limited = workload("r1", &[("WHERE", "http://127.0.0.1:{port}/")]);
    limited.limits = Some(Limits { memory_mb: Some(512), open_files: Some(77), processes: None });
    agent.put_workload("a", "r1", limited, 1).await;
    let state = agent.available("a", "r1", 1).await;
    let revision = state.revision("r1").unwrap();
    let mut user = User::of_url(&revision.preview_url);
    let (_, environment) = user.get("/environment").await.unwrap();
    let mut names: Vec<&str> = environment.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    let allowed = ["BASB_INSTANCE", "BASB_TEST_ROLE", "HOME", "HOST", "LANG", "PATH", "PORT", "PWD", "REV", "WHERE"];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    let port = revision.instances[0].port;
    assert!(environment.contains(&format!("WHERE=http://127.0.0.1:{port}/")) && environment.contains("HOST=127.0.0.1"));
    let (_, limits) = user.get("/limits").await.unwrap();
    let line = |start: &str| limits.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("Max open files").contains(" 77 "), "{limits}");
    assert!(line("Max data size").contains(&(512 * 1024 * 1024).to_string()), "{limits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unready_instance_leaves_the_balancing_and_comes_back() {
    let agent = Agent::here().await;
    let flag = agent.dir().join("unready");
    agent.create("a").await;
    agent.put_workload("a", "r1", workload("r1", &[("UNREADY_FILE", flag.to_str().unwrap())]), 1).await;
    let state = agent.available("a", "r1", 1).await;
    let pids = Agent::pids(&state);
    std::fs::write(&flag, "").unwrap();
    let state = agent.available("a", "r1", 0).await;
    let message = state.revisions[0].instances[0].message.clone().unwrap();
    assert!(message.contains("503"), "{message}");
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(Agent::pids(&agent.available("a", "r1", 1).await), pids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_is_refused_and_a_missing_one_reported() {
    let agent = Agent::here().await;
    let error = basb_agent::server::serve(crate::support::options(agent.dir())).await.unwrap_err();
    assert_eq!(error.code(), "already-running");
    let error = Client::new("/nonexistent/agent").agent().await.unwrap_err();
    assert_eq!(error.code(), "not-running");
    let folder = tempfile::tempdir().unwrap();
    let ended =
        basb_agent::client::ensure_running(folder.path(), "/bin/sh".as_ref(), ["-c", "echo no config >&2; exit 4"]);
    let error = ended.await.unwrap_err();
    assert!(error.code() == "start-failed" && error.to_string().contains("no config"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_waits_for_a_lock_that_nobody_answers_for() {
    let owner = tempfile::tempdir().unwrap();
    let dir = owner.path().to_owned();
    let lock = std::fs::File::create(dir.join("agent.lock")).unwrap();
    // What a process of a killed agent has, until it runs its own program.
    lock.lock().unwrap();
    let serving = tokio::spawn(basb_agent::server::serve(crate::support::options(&dir)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!serving.is_finished());
    lock.unlock().unwrap();
    let client = Client::new(&dir);
    until("an agent", async || client.agent().await.ok()).await;
    client.stop(StopServices::Keep).await.unwrap();
    serving.await.unwrap().unwrap();

    // Not for ever.
    lock.lock().unwrap();
    let error = basb_agent::server::serve(crate::support::options(&dir)).await.unwrap_err();
    assert_eq!(error.code(), "already-running");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_need_an_agent_at_the_same_time_start_one() {
    let owner = tempfile::tempdir().unwrap();
    let dir = owner.path().join("state");
    let env = ["BASB_TEST_ROLE=agent".to_owned(), format!("BASB_TEST_DIR={}", dir.display())];
    let args: Vec<String> = env.into_iter().chain(role_command()).collect();
    let started = futures_util::future::join_all((0..6).map(|_| {
        let (dir, args) = (dir.clone(), args.clone());
        tokio::spawn(async move {
            let client = basb_agent::client::ensure_running(&dir, "/usr/bin/env".as_ref(), &args).await.unwrap();
            client.agent().await.unwrap().pid
        })
    }))
    .await;
    let pids: std::collections::BTreeSet<u32> = started.into_iter().map(Result::unwrap).collect();
    assert_eq!(pids.len(), 1);
    let client = Client::new(&dir);
    client.stop(StopServices::Stop).await.unwrap();
    let pid = *pids.first().unwrap();
    until("the agent ends", async || crate::support::start_time(pid).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_state_folder_works() {
    let below = "a-very-long-folder-name/".repeat(8);
    let agent = Agent::here_below(&below).await;
    assert!(agent.dir().as_os_str().len() > 150);
    assert_eq!(agent.client.agent().await.unwrap().api_version, 1);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(agent.dir()), 0o700);
    assert_eq!(mode(&agent.dir().join("agent.sock")), 0o600);
}
