//! The one-machine cloud outlives the command that started it, and its services outlive it.

use basb_e2e::{FileOptions, Lab, Load, Mcp, wait_for};
use rustix::process::{Pid, Signal, kill_process};

fn kill(pid: impl TryInto<i32>) {
    kill_process(Pid::from_raw(pid.try_into().ok().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn it_starts_answers_and_stops() {
    let lab = Lab::new();
    lab.host(&["agent", "status"]).exits(1).says("not-running", &["basb-host agent start"]);
    let stopped = lab.host(&["agent", "stop"]).exits(0);
    assert!(stopped.stderr.contains("the agent is not running"), "{}", stopped.stderr);

    let first = lab.host(&["agent", "start"]).exits(0).stdout;
    assert!(first.starts_with("the agent is running: pid "), "{first}");
    assert_eq!(lab.host(&["agent", "start"]).exits(0).stdout, first, "there is one already");
    let pid = lab.cloud().pid;
    assert!(first.contains(&format!("pid {pid},")), "{first}");
    lab.stop();
    lab.host(&["agent", "status"]).exits(1);
}

#[test]
fn services_and_their_weights_survive_the_run_and_the_agent() {
    let lab = Lab::new();
    let config = "{ steps: [ { setWeight: 50 }, { pause: {} } ] }";
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.run(1).exits(0);
    lab.run(2).exits(4);
    let before = lab.cloud();
    // A client of its own each time: one that is kept finds its connections closed.
    let both = || {
        let client = Mcp::new(lab.port());
        let mut seen: Vec<u64> = (0..4).map(|_| client.release().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 1, 2, 2], "half of the traffic each, exactly");
    };
    both();

    // Stopped, or killed: the processes are the same, and so are the weights.
    for end in ["stop", "kill"] {
        let pid = lab.cloud().pid;
        if end == "stop" {
            lab.host(&["agent", "stop"]).exits(0);
            assert!(Mcp::new(lab.port()).release().is_err(), "there is no proxy now");
        } else {
            kill(pid);
            wait_for("the agent's end", || lab.host(&["agent", "status"]).exits_not(0));
        }
        for pid in before.service("capture").revisions.values().flat_map(basb_e2e::Revision::pids) {
            assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{end}: process {pid} is gone");
        }
        lab.host(&["agent", "start"]).exits(0);
        let after = wait_for("all instances", || {
            let cloud = lab.cloud();
            cloud.service("capture").revisions.values().all(|r| r.available == r.desired).then_some(cloud)
        });
        assert_ne!(after.pid, pid);
        assert_eq!(after.services, before.services, "{end}");
        both();
    }

    // And the run goes on with them.
    lab.host(&["promote"]).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
}

#[test]
fn a_run_starts_the_agent_that_is_gone() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    kill(lab.cloud().pid);
    wait_for("the agent's end", || lab.host(&["agent", "status"]).exits_not(0));
    lab.run(2).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
}

#[test]
fn services_stop_with_the_agent_only_when_asked_to_and_come_back() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let before = lab.cloud().service("capture").only().1.pids();
    lab.stop();
    lab.host(&["agent", "start"]).exits(0);
    wait_for("an answer", || Mcp::new(lab.port()).release().ok());
    let cloud = wait_for("all instances", || {
        let cloud = lab.cloud();
        cloud.service("capture").revisions.values().all(|r| r.available == r.desired).then_some(cloud)
    });
    let after = cloud.service("capture").only().1.pids();
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|pid| !before.contains(pid)));
    assert!(lab.host(&["plan"]).exits(0).stdout.contains("nothing to do"));
}

#[test]
fn an_instance_that_dies_is_started_again_and_costs_what_it_was_doing_at_the_most() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let victim = lab.cloud().service("capture").only().1.pids().remove(0);
    let load = Load::start(lab.port());
    kill(i32::try_from(victim).unwrap());
    wait_for("its restart", || {
        let cloud = lab.cloud();
        let revision = cloud.service("capture").revisions.values().next().unwrap().clone();
        let back = revision.available == 2 && revision.instances.iter().any(|i| i.restarts == 1);
        (back && !revision.pids().contains(&victim)).then_some(())
    });
    // A tool call may have had its effect, so it is not sent twice: one on each of two connections, at the most.
    let failed = load.stop().failed;
    assert!(failed.len() <= 2 && failed.iter().all(|why| why.contains("must not be repeated")), "{failed:?}");
}

#[test]
fn logs_of_a_service() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let all = lab.host(&["logs", "capture"]).exits(0).stdout;
    assert_eq!(all.matches("listening on 127.0.0.1:").count(), 2, "one line of each instance: {all}");
    assert_eq!(lab.host(&["logs", "lab.local.capture", "--tail", "100"]).exits(0).stdout, all);
    let revision = lab.cloud().service("capture").only().0.to_owned();
    let last = lab.host(&["logs", "capture", "--tail", "1", "--revision", &revision]).exits(0).stdout;
    assert_eq!(last.lines().count(), 2, "the last line of each instance: {last}");
    lab.host(&["logs", "nobody"]).exits(1).says("cli/no-such-service", &["no service `nobody`", "lab.local.capture"]);
}
