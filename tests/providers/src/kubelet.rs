//! Kubernetes with a real kubelet and a real scheduler beside API server and controller manager: pods are containers of a
//! Docker engine of the test's own.
//!
//! There is no network for pods and no kube-proxy. Pods have the machine's network, each with a port of its own, and users
//! are led by a program of ours (`programs/kubernetes_kubelet.py`).

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use basb_counterparts::install;
use basb_counterparts::process::Process;
use basb_e2e::engine::{Engine, IMAGE};
use basb_e2e::wait_for;
use serde_json::{Value, json};

use crate::kubernetes::{KubeLab, NAMESPACE, Nodes, Traffic};

/// How long a kubelet may take until nothing is left of a pod that is gone: it clears up once a minute.
const CLEARED: Duration = Duration::from_secs(150);

/// Two kubelets on one machine are one too many.
static ALONE: Mutex<()> = Mutex::new(());

/// A cluster of one node, and a place to deploy from.
pub struct KubeletLab {
    // In the order in which they are stopped: a kubelet that still runs would make containers anew.
    _kubelet: Process,
    _scheduler: Process,
    _beside: Process,
    /// The engine with the containers of all pods.
    pub engine: Engine,
    /// The control plane, and where basb-host runs.
    pub kube: KubeLab,
    _alone: MutexGuard<'static, ()>,
}

impl KubeletLab {
    /// Starts everything for these services, as [`KubeLab::start`] does; `None`, and a message on standard error, when
    /// something is not installed.
    ///
    /// # Panics
    /// When something that is installed does not start.
    #[must_use]
    pub fn start(services: &[&str], traffic: Traffic, role: &str) -> Option<KubeletLab> {
        let program =
            |name: &str| install::find_or_say(&format!("kubernetes/bin/{name}"), name, "cargo xtask setup kubernetes");
        let (kubelet, scheduler, pause) = (program("kubelet")?, program("kube-scheduler")?, program("pause")?);
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = Engine::for_kubelet()?;
        let kube = KubeLab::control_plane(services, traffic, role, Nodes::Kubelet)?;
        let root = kube.root();
        import_pause(&engine, &pause, root);
        add_sleep(&engine);
        let beside = kube.start_beside(
            "kubelet.py",
            &json!({ "certificate": root.join("server.crt"), "key": root.join("server.key") }),
        );
        let scheduler = start_scheduler(&scheduler, root);
        let kubelet = start_kubelet(&kubelet, &engine, root);
        let lab = KubeletLab { _kubelet: kubelet, _scheduler: scheduler, _beside: beside, engine, kube, _alone: alone };
        wait_for("a node that takes pods", || lab.takes_pods().then_some(()));
        Some(lab)
    }

    fn takes_pods(&self) -> bool {
        let Ok(text) = self.kube.try_kubectl(&["get", "node", "localhost", "-o", "json"]) else { return false };
        let node: Value = serde_json::from_str(&text).unwrap();
        let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|of| of["type"] == "Ready" && of["status"] == "True") && node["spec"]["taints"].is_null()
    }

    /// The containers of a service's pods that run, as Docker's own client shows them; not those that only hold a pod's
    /// place.
    #[must_use]
    pub fn containers(&self, service: &str) -> Vec<Value> {
        let label = format!("label=io.kubernetes.container.name={service}");
        let listed = self.engine.cli(&["ps", "--quiet", "--filter", &label]);
        listed.lines().map(|id| self.engine.inspect(id)).collect()
    }

    /// The names of all pods of the namespace that Docker knows a container of, whatever its state, each once.
    #[must_use]
    pub fn pods_in_docker(&self) -> Vec<String> {
        let label = format!("label=io.kubernetes.pod.namespace={NAMESPACE}");
        let form = "{{.Label \"io.kubernetes.pod.name\"}}";
        let listed = self.engine.cli(&["ps", "--all", "--filter", &label, "--format", form]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The names of all pods that the API server knows.
    #[must_use]
    pub fn pods_in_the_api(&self) -> Vec<String> {
        let name = |of: &Value| of["metadata"]["name"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = self.kube.objects("pods").iter().map(name).collect();
        names.sort();
        names
    }

    /// Waits until the API server knows so many pods, and Docker has containers of these and of no other, whatever their
    /// state.
    ///
    /// # Panics
    /// When it has not, after what a kubelet takes to clear up.
    #[track_caller]
    pub fn so_many_are_left(&self, count: usize) {
        let began = Instant::now();
        loop {
            let (docker, api) = (self.pods_in_docker(), self.pods_in_the_api());
            if docker == api && api.len() == count {
                return;
            }
            assert!(began.elapsed() < CLEARED, "{count} pods were to be left. Docker: {docker:?}, API: {api:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for KubeletLab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.kube.root().join("kubelet.log")).unwrap_or_default();
            let bad: Vec<&str> = log.lines().filter(|line| line.starts_with(['E', 'F'])).collect();
            eprintln!("what the kubelet has to complain of:\n{}", bad[bad.len().saturating_sub(30)..].join("\n"));
            for name in self.engine.names("exited") {
                let said = self.engine.try_cli(&["logs", "--tail", "5", &name]);
                eprintln!("the last that {name} said: {said:?}");
            }
        }
    }
}

/// What holds a pod's place: Kubernetes' own program, in an image of its own.
fn import_pause(engine: &Engine, program: &Path, root: &Path) {
    let tar = root.join("pause.tar");
    let packed =
        Command::new("tar").arg("-C").arg(program.parent().unwrap()).arg("-cf").arg(&tar).arg("pause").status();
    assert!(packed.unwrap().success());
    let _ = engine.cli(&["import", "--change", "ENTRYPOINT [\"/pause\"]", tar.to_str().unwrap(), "pause:1"]);
    std::fs::remove_file(&tar).unwrap();
}

/// Adds to the example's image what a pod can wait with before it ends. It needs nothing that the example's program does not.
fn add_sleep(engine: &Engine) {
    let id = engine.cli(&["create", IMAGE, "/bin/sleep"]);
    let _ = engine.cli(&["cp", "--follow-link", "/bin/sleep", &format!("{id}:/bin/sleep")]);
    let _ = engine.cli(&["commit", &id, IMAGE]);
    let _ = engine.cli(&["rm", &id]);
}

fn start_scheduler(program: &Path, root: &Path) -> Process {
    let (process, _) = Process::listening("kube-scheduler", |port| {
        let mut command = Command::new(program);
        command
            .args(["--bind-address=127.0.0.1", "--port=0", "--leader-elect=false"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--kubeconfig={}", root.join("kubeconfig").display()))
            .arg(format!("--cert-dir={}", root.join("scheduler").display()))
            .current_dir(root);
        command
    });
    process
}

fn start_kubelet(program: &Path, engine: &Engine, root: &Path) -> Process {
    let script = root.join("kubelet.sh");
    std::fs::write(&script, include_str!("../programs/kubernetes_kubelet.sh")).unwrap();
    let (process, _) = Process::listening("the kubelet", |port| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "sh"]).arg(&script).arg(root).arg(program);
        command
            .args(["--hostname-override=localhost", "--address=127.0.0.1", "--read-only-port=0", "--healthz-port=0"])
            .args(["--anonymous-auth=false", "--authorization-mode=AlwaysAllow", "--fail-swap-on=false"])
            .args(["--container-runtime=docker", "--pod-infra-container-image=pause:1", "--hairpin-mode=none"])
            .args(["--cgroup-driver=cgroupfs", "--cgroups-per-qos=false", "--enforce-node-allocatable="])
            .args(["--make-iptables-util-chains=false", "--oom-score-adj=0"])
            // How full the machine's disk is, is none of the test's.
            .args(["--eviction-hard=memory.available<1Mi", "--image-gc-high-threshold=100"])
            .args(["--minimum-container-ttl-duration=0s", "--maximum-dead-containers-per-container=0"])
            .arg(format!("--port={port}"))
            .arg(format!("--docker-endpoint=unix://{}", engine.socket().display()))
            .arg(format!("--container-runtime-endpoint=unix://{}", root.join("shim.sock").display()))
            .current_dir(root);
        for (flag, file) in [
            ("kubeconfig", "kubeconfig"),
            ("root-dir", "kubelet"),
            ("cert-dir", "kubelet-certificates"),
            ("volume-plugin-dir", "kubelet-plugins"),
        ] {
            command.arg(format!("--{flag}={}", root.join(file).display()));
        }
        command
    });
    process
}
