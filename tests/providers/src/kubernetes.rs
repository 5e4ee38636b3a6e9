//! Kubernetes on this machine: etcd, a real API server and a real controller manager, built from Debian's source package by
//! `cargo xtask setup kubernetes`, with certificates of an authority of their own, RBAC with the documented role, and a node
//! and a gateway for tests (`programs/kubernetes_node.py`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use basb_counterparts::process::Process;
use basb_counterparts::{install, port};
use basb_e2e::{Lab, wait_for};
use serde_json::{Value, json};

/// Where everything is.
pub const NAMESPACE: &str = "second-brain";
/// What pods run.
pub const IMAGE: &str =
    "registry.example/second-brain@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What makes the shares of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// The weights of an HTTPRoute.
    Routes,
    /// The numbers of pods.
    Pods,
}

/// What runs pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// A node of ours: each pod's container is a process of this machine.
    Ours,
    /// A kubelet and a container engine.
    Kubelet,
}

/// A cluster, and a place to deploy from.
pub struct KubeLab {
    /// Where basb-host runs.
    pub lab: Lab,
    /// Where users reach each service.
    pub ports: Vec<(String, u16)>,
    /// Where its candidate is reached.
    pub previews: Vec<(String, u16)>,
    /// The token that basb-host deploys with.
    pub token: String,
    /// What runs pods.
    pub nodes: Nodes,
    traffic: Traffic,
    folder: tempfile::TempDir,
    port: u16,
    // In the order in which they are stopped.
    node: Option<Process>,
    _controllers: Process,
    _api: Process,
    _etcd: Process,
}

impl KubeLab {
    /// Starts everything for these services, with a service account that has this role and nothing else; `None`, and a
    /// message on standard error, when something is not installed.
    ///
    /// # Panics
    /// When something that is installed does not start.
    #[must_use]
    pub fn start(services: &[&str], traffic: Traffic, role: &str) -> Option<KubeLab> {
        let mut kube = Self::control_plane(services, traffic, role, Nodes::Ours)?;
        kube.apply("apiVersion: v1\nkind: Node\nmetadata: { name: loopback }\n");
        kube.start_node();
        Some(kube)
    }

    /// The same without anything that runs pods or leads users.
    pub(crate) fn control_plane(services: &[&str], traffic: Traffic, role: &str, nodes: Nodes) -> Option<KubeLab> {
        let alone = "cargo xtask setup kubernetes";
        let program = |name: &str| install::find_or_say(&format!("kubernetes/bin/{name}"), name, alone);
        let (api_server, controller_manager) = (program("kube-apiserver")?, program("kube-controller-manager")?);
        let etcd = install::find_or_say("kubernetes/bin/etcd", "etcd", alone)?;
        install::find_or_say("kubernetes/bin/kubectl", "kubectl", alone)?;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        certificates(root);
        std::fs::write(root.join("tokens.csv"), "admin-token-of-the-tests,admin,admin,\"system:masters\"\n").unwrap();
        std::fs::write(
            root.join("audit.yaml"),
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{ level: Metadata }]\n",
        )
        .unwrap();
        let (etcd, etcd_port) = start_etcd(&etcd, root);
        let (api, port) = start_api_server(&api_server, root, etcd_port);
        kubeconfig(root, port);
        ready(root);
        let (controllers, _) = start_controllers(&controller_manager, root, nodes);
        let free = || -> Vec<(String, u16)> { services.iter().map(|of| ((*of).to_owned(), port::free())).collect() };
        let mut kube = KubeLab {
            lab: Lab::new(),
            ports: free(),
            previews: free(),
            token: String::new(),
            nodes,
            traffic,
            folder,
            port,
            node: None,
            _controllers: controllers,
            _api: api,
            _etcd: etcd,
        };
        kube.set_up(role);
        Some(kube)
    }

    fn set_up(&mut self, role: &str) {
        self.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {NAMESPACE} }}\n"));
        self.apply(include_str!("../programs/kubernetes_httproute.yaml"));
        self.apply(role);
        self.apply(&format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: deployer, namespace: {NAMESPACE} }}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{ name: deployer, namespace: {NAMESPACE} }}\n\
             roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: basb-host }}\n\
             subjects: [{{ kind: ServiceAccount, name: deployer, namespace: {NAMESPACE} }}]\n"
        ));
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd/httproutes.gateway.networking.k8s.io",
            "--timeout=60s",
        ]);
        // Pods have a service account, which a controller makes.
        wait_for("the namespace's own service account", || {
            self.try_kubectl(&["get", "serviceaccount", "default", "-n", NAMESPACE]).ok()
        });
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/deployer/token");
        let answer = self.feed(&["create", "--raw", &path, "-f", "-"], &request.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        self.token = answer["status"]["token"].as_str().unwrap().to_owned();
    }

    fn start_node(&mut self) {
        let images = json!({ IMAGE: [basb_e2e::program("second-brain")] });
        self.node = Some(self.start_beside("node.py", &json!({ "images": images })));
    }

    /// Starts one of the programs for tests that stand beside the control plane, with these options and what all of them
    /// need, and waits until users can come.
    pub(crate) fn start_beside(&self, program: &str, more: &Value) -> Process {
        let root = self.root();
        let fronts: serde_json::Map<String, Value> = self
            .ports
            .iter()
            .zip(&self.previews)
            .map(|((name, users), (_, preview))| (name.clone(), json!({"users": users, "preview": preview})))
            .collect();
        let mut options = json!({
            "server": format!("https://127.0.0.1:{}", self.port),
            "authority": root.join("ca.crt"),
            "token": "admin-token-of-the-tests",
            "namespace": NAMESPACE,
            "fronts": fronts,
        });
        for (name, value) in more.as_object().unwrap() {
            options[name] = value.clone();
        }
        let file = root.join("node.json");
        std::fs::write(&file, options.to_string()).unwrap();
        for (name, text) in [
            ("node.py", include_str!("../programs/kubernetes_node.py")),
            ("kubelet.py", include_str!("../programs/kubernetes_kubelet.py")),
            ("data_plane.py", include_str!("../programs/data_plane.py")),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        Process::listening_on(program, self.ports[0].1, || {
            let mut command = Command::new("python3");
            command.arg(root.join(program)).arg(&file);
            command
        })
    }

    /// The folder with the certificates, and with `kubeconfig`, the administrator's.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// `kubectl` as the cluster's administrator, to its end.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|said| panic!("kubectl {args:?}: {said}"))
    }

    /// The same, for what may fail.
    ///
    /// # Errors
    /// What it said.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        kubectl(self.folder.path(), args, "")
    }

    fn feed(&self, args: &[&str], input: &str) -> String {
        kubectl(self.folder.path(), args, input).unwrap_or_else(|said| panic!("kubectl {args:?}: {said}"))
    }

    /// Applies a manifest as the administrator.
    pub fn apply(&self, manifest: &str) {
        self.feed(&["apply", "-f", "-"], manifest);
    }

    /// The objects of a kind, as kubectl sees them.
    #[must_use]
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "-n", NAMESPACE, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The objects of a kind that belong to a service of the deployment.
    #[must_use]
    pub fn of_service(&self, kind: &str, service: &str) -> Vec<Value> {
        let all = self.objects(kind);
        all.into_iter().filter(|of| of["metadata"]["labels"]["basb-host/service"] == service).collect()
    }

    /// What the API server's own log says that the service account did: verb and resource, each once.
    #[must_use]
    pub fn audited(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        let mut all: Vec<String> = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|entry| entry["user"]["username"] == format!("system:serviceaccount:{NAMESPACE}:deployer"))
            .map(|entry| {
                let of = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
                format!("{} {}", of("/verb"), of("/objectRef/resource"))
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// A `basb-host` command with the service account's token in its environment.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command(args);
        let authority = std::fs::read_to_string(self.folder.path().join("ca.crt")).unwrap();
        command.env("KUBE_TOKEN", &self.token).env("KUBE_CA", authority);
        command
    }

    /// Runs `basb-host` to its end.
    #[must_use]
    pub fn host(&self, args: &[&str]) -> basb_e2e::Output {
        basb_e2e::Following::start(self.command(args)).end()
    }

    /// `basb-host run --json` of a release, to its end.
    #[must_use]
    pub fn run(&self, release: u8) -> basb_e2e::Output {
        self.host(&["--json", "run", "--set", &format!("release={release}")])
    }

    /// The sections of a deployment file that say how the cluster is reached: secrets and credentials, and the plugin
    /// `kubernetes` with the grants that the documentation gives.
    #[must_use]
    pub fn access(&self) -> (String, String) {
        let port = self.port;
        let access = format!(
            "secrets:\n  kube-ca: {{ store: env, key: KUBE_CA }}\n  kube-token: {{ store: env, key: KUBE_TOKEN }}\ncredentials:\n  \
             kube-ca: {{ to: [{{ host: 127.0.0.1, port: {port} }}], authority: kube-ca }}\n  kube: {{ to: [{{ host: 127.0.0.1, \
             port: {port} }}], bearer: kube-token }}\n"
        );
        let grants: String = documented_grants()
            .iter()
            .map(|line| {
                format!(
                    "        {}\n",
                    line.replace("kube.example.com, port: 6443", &format!("127.0.0.1, port: {port}"))
                )
            })
            .collect();
        let plugin = format!(
            "  kubernetes:\n    source: \"builtin:provider-kubernetes\"\n    credentials: [kube-ca, kube]\n    grants:\n      \
             http:\n{grants}"
        );
        (access, plugin)
    }

    /// The provider's configuration, below `config:`, with more lines in it.
    #[must_use]
    pub fn config(&self, indent: &str, more: &str) -> String {
        let mut text = format!("server: \"https://127.0.0.1:{}\"\nnamespace: {NAMESPACE}\n{more}", self.port);
        if self.nodes == Nodes::Kubelet {
            // What was loaded into an engine, and pulled from nowhere, has no digest.
            text.push_str("imageTags: allow\n");
        }
        if self.traffic == Traffic::Routes {
            text.push_str("gateway: { parentRefs: [{ name: main, namespace: gateways }] }\n");
        }
        text.push_str("services:\n");
        for ((name, port), (_, preview)) in self.ports.iter().zip(&self.previews) {
            text.push_str(&format!(
                "  {name}: {{ hosts: [{name}.example], url: \"http://127.0.0.1:{port}\", previewUrl: \
                 \"http://127.0.0.1:{preview}\" }}\n"
            ));
        }
        text.lines().map(|line| format!("{indent}{line}\n")).collect()
    }

    /// The image of a service of the example, and its settings but for the braces: `command` and what else it needs here.
    #[must_use]
    pub fn workload(&self, service: &str) -> (&'static str, String) {
        match self.nodes {
            Nodes::Ours => {
                let vault = self.lab.vault();
                (IMAGE, format!("command: [{service}, --vault, {}, --release, \"${{release}}\"]", vault.display()))
            }
            // The image does not say who it runs as, and a kubelet lets nobody run as root who must not.
            Nodes::Kubelet => (
                basb_e2e::engine::IMAGE,
                format!(
                    "command: [/bin/second-brain, {service}, --vault, /vault, --release, \"${{release}}\"], user: 65534, \
                     scratch: [/vault]"
                ),
            ),
        }
    }
}

/// The page that users read.
const PAGE: &str = include_str!("../../../docs/providers/kubernetes.md");

/// The grants that the documentation gives: what is tested is what is pasted.
///
/// # Panics
/// When it gives none.
#[must_use]
pub fn documented_grants() -> Vec<String> {
    let is_grant = |line: &&str| line.starts_with("- { host: kube.example.com, port: 6443, methods:");
    let found: Vec<String> = PAGE.lines().map(str::trim).filter(is_grant).map(str::to_owned).collect();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// The role that the documentation gives.
///
/// # Panics
/// When it gives none.
#[must_use]
pub fn documented_role() -> String {
    let (_, rest) = PAGE.split_once("```yaml\napiVersion: rbac").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    format!("apiVersion: rbac{text}")
}

fn openssl(root: &Path, args: &[&str]) {
    let out =
        Command::new("openssl").args(args).current_dir(root).stdin(Stdio::null()).output().expect("openssl starts");
    assert!(out.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// An authority, a certificate of it for 127.0.0.1, and the key that service accounts' tokens are signed with.
fn certificates(root: &Path) {
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
        root,
        &[
            &["req", "-x509"],
            &curve[..],
            &["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority of the tests", "-days", "2"],
        ]
        .concat(),
    );
    openssl(
        root,
        &[
            &["req", "-new"],
            &curve[..],
            &["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=kube-apiserver"],
        ]
        .concat(),
    );
    std::fs::write(root.join("server.ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(root, &[&sign[..], &["-out", "server.crt", "-days", "2", "-extfile", "server.ext"]].concat());
    openssl(root, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key"]);
    openssl(root, &["ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"]);
}

fn start_etcd(program: &Path, root: &Path) -> (Process, u16) {
    let peer = port::free();
    Process::listening("etcd", |port| {
        let mut command = Command::new(program);
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        command
            .arg("--data-dir")
            .arg(root.join(format!("etcd-{port}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync"]);
        command
    })
}

fn start_api_server(program: &Path, root: &Path, etcd: u16) -> (Process, u16) {
    Process::listening("kube-apiserver", |port| {
        let mut command = Command::new(program);
        command
            .args(["--endpoint-reconciler-type=none", "--insecure-port=0", "--bind-address=127.0.0.1"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
            .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"])
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .current_dir(root);
        for (flag, file) in [
            ("tls-cert-file", "server.crt"),
            ("tls-private-key-file", "server.key"),
            ("client-ca-file", "ca.crt"),
            ("token-auth-file", "tokens.csv"),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
            ("audit-policy-file", "audit.yaml"),
            ("audit-log-path", "audit.log"),
            ("cert-dir", "certs"),
        ] {
            command.arg(format!("--{flag}={}", root.join(file).display()));
        }
        command
    })
}

fn start_controllers(program: &Path, root: &Path, nodes: Nodes) -> (Process, u16) {
    let without = match nodes {
        // Nothing tells it that the node lives.
        Nodes::Ours => ",-nodelifecycle",
        Nodes::Kubelet => "",
    };
    Process::listening("kube-controller-manager", |port| {
        let mut command = Command::new(program);
        command
            .args(["--bind-address=127.0.0.1", "--port=0", "--leader-elect=false"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--controllers=*,-nodeipam,-route,-service,-cloud-node-lifecycle,-ttl,-attachdetach{without}"))
            .current_dir(root);
        for (flag, file) in [
            ("kubeconfig", "kubeconfig"),
            ("service-account-private-key-file", "sa.key"),
            ("root-ca-file", "ca.crt"),
            ("cert-dir", "controllers"),
        ] {
            command.arg(format!("--{flag}={}", root.join(file).display()));
        }
        command
    })
}

fn kubeconfig(root: &Path, port: u16) {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {"server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": root.join("ca.crt")}}],
        "users": [{"name": "admin", "user": {"token": "admin-token-of-the-tests"}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
    });
    std::fs::write(root.join("kubeconfig"), config.to_string()).unwrap();
}

/// Waits until the API server has all that it starts with, its own roles above all.
fn ready(root: &Path) {
    wait_for("the API server", || kubectl(root, &["get", "--raw", "/readyz"], "").ok());
    wait_for("the roles of the API server", || kubectl(root, &["get", "clusterrole", "system:discovery"], "").ok());
}

fn kubectl(root: &Path, args: &[&str], input: &str) -> Result<String, String> {
    let program: PathBuf = install::find("kubernetes/bin/kubectl", "kubectl").ok_or("there is no kubectl")?;
    let file = root.join("input");
    std::fs::write(&file, input).unwrap();
    let out = Command::new(program)
        .args(args)
        .env("KUBECONFIG", root.join("kubeconfig"))
        .env("HOME", root)
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&out.stderr).into_owned())
}
