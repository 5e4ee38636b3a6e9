//! Google Cloud on this machine: a model of Cloud Run that checks every request by Google's own description of its API,
//! gives tokens for what a service account has signed, and runs containers as processes. Google's own client looks.

use std::path::{Path, PathBuf};
use std::process::Command;

use basb_counterparts::install;
use basb_counterparts::process::Process;
use basb_e2e::{Following, Lab, Output};
use serde_json::{Value, json};

use crate::python;
use crate::suite::{SERVICES, Sections, Site};

/// The image behind which the model runs the services of the example.
pub const IMAGE: &str =
    "registry.example/second-brain@sha256:5ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0";

/// An image that ends as soon as it is started.
pub const BROKEN: &str =
    "registry.example/broken@sha256:b20cea1b20cea1b20cea1b20cea1b20cea1b20cea1b20cea1b20cea1b20cea1b";

const ACCOUNT: &str = "deploy@my-project.iam.gserviceaccount.com";
const PARENT: &str = "projects/my-project/locations/europe-west3";

/// Cloud Run on this machine, and a place to deploy from.
pub struct GcpLab {
    /// Where basb-host runs.
    pub lab: Lab,
    /// The key file of the service account.
    pub key: String,
    /// A key file of the same account that somebody else has made.
    pub other_key: String,
    port: u16,
    python: PathBuf,
    log: PathBuf,
    _model: Process,
}

impl GcpLab {
    /// Starts everything; `None`, and a message on standard error, when Google's client is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<GcpLab> {
        let alone = "python3 -m venv ~/.cache/basb-host/counterparts/gcp && ~/.cache/basb-host/counterparts/gcp/bin/pip install \
                     google-api-python-client==2.202.0 google-cloud-run==0.16.2 'google-auth[requests]==2.63.0' \
                     cryptography==50.0.2";
        let python = install::find_or_say("gcp/bin/python", "basb-gcp-python", alone)?;
        let lab = Lab::new();
        let pair = || python::json(&python, include_str!("../programs/gcp_keys.py"), &[]);
        let (ours, others) = (pair(), pair());
        let (public, log) = (lab.root().join("account.pem"), lab.root().join("requests.jsonl"));
        std::fs::write(&public, ours["public"].as_str().unwrap()).unwrap();
        std::fs::write(&log, "").unwrap();
        let commands = json!({IMAGE: [basb_e2e::program("second-brain")], BROKEN: ["false"]}).to_string();
        let (model, port) = Process::listening("the model of Cloud Run", |port| {
            let mut command = Command::new(&python);
            command
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(lab.root())
                .arg(python::program("gcp_cloud_run.py"))
                .args([&port.to_string(), ACCOUNT])
                .arg(&public)
                .arg(&commands)
                .arg(&log);
            command
        });
        let key_file = |pair: &Value| {
            json!({"type": "service_account", "project_id": "my-project", "private_key_id": "1", "client_email": ACCOUNT,
                "private_key": pair["private"], "token_uri": "https://oauth2.googleapis.com/token"})
            .to_string()
        };
        let (key, other_key) = (key_file(&ours), key_file(&others));
        std::fs::write(lab.root().join("key.json"), &key).unwrap();
        Some(GcpLab { lab, key, other_key, port, python, log, _model: model })
    }

    /// Runs Google's client; what it saw.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn client(&self, args: &[&str]) -> Value {
        let (endpoint, key) = (self.endpoint(), self.lab.root().join("key.json"));
        let all = [&[endpoint.as_str(), key.to_str().unwrap(), PARENT], args].concat();
        python::json(&self.python, include_str!("../programs/gcp_client.py"), &all)
    }

    /// Has Google's newer client send what was sent, and compares.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn wire(&self, sent: &[Value]) -> Value {
        let (path, lines) = (self.lab.root().join("sent.jsonl"), sent.iter().map(|line| format!("{line}\n")));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        python::json(&self.python, include_str!("../programs/gcp_wire.py"), &[path.to_str().unwrap()])
    }

    /// Services, revisions and traffic, as Google's client sees them.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn facts(&self) -> Value {
        self.client(&["facts"])
    }

    /// What Google's client sees of the Cloud Run service of a service, by its label.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn fact(&self, service: &str) -> Value {
        let facts = self.facts();
        let all = facts["services"].as_array().unwrap();
        let found = all.iter().find(|of| of["labels"]["basb-host_service"] == service);
        found.unwrap_or_else(|| panic!("no service {service}: {facts}")).clone()
    }

    /// Every request since the last time with the model's answer, those for tokens aside.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        std::fs::write(&self.log, "").unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The file with every request.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where the model is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs `basb-host` to its end.
    #[must_use]
    pub fn host(&self, args: &[&str]) -> Output {
        Following::start(Site::command(self, args)).end()
    }

    /// The sections of a deployment file that say how Google Cloud is reached, with the grants that the documentation
    /// gives.
    #[must_use]
    pub fn access(&self) -> (String, String) {
        let port = self.port;
        let access = format!(
            "secrets:
  gcp-key: {{ store: env, key: GCP_KEY }}
credentials:
  google:
    to: [{{ host: 127.0.0.1, scheme: http, port: {port} }}]
    gcpServiceAccount: {{ key: gcp-key, scopes: [\"https://www.googleapis.com/auth/cloud-platform\"], tokenUrl: \
             \"http://127.0.0.1:{port}/token\" }}
"
        );
        let here = |line: &str| {
            line.replace("host: run.googleapis.com", &format!("host: 127.0.0.1, scheme: http, port: {port}"))
        };
        let grants: String = documented().iter().map(|line| format!("        {}\n", here(line))).collect();
        let plugin = format!(
            "  gcp:\n    source: \"builtin:provider-gcp\"\n    credentials: [google]\n    grants:\n      http:\n{grants}"
        );
        (access, plugin)
    }

    /// The provider's configuration, below `provider:` of an environment.
    #[must_use]
    pub fn provider(&self) -> String {
        format!(
            "    provider:
      plugin: gcp
      config:
        project: my-project
        location: europe-west3
        endpoint: \"{}\"
        access: public
",
            self.endpoint()
        )
    }
}

/// The grants that the documentation gives: what is tested is what is pasted.
///
/// # Panics
/// When it gives none.
#[must_use]
pub fn documented() -> Vec<String> {
    let page = include_str!("../../../docs/providers/gcp.md");
    let lines = page.lines().map(str::trim).filter(|line| line.starts_with("- { host: run.googleapis.com"));
    let found: Vec<String> = lines.map(str::to_owned).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    found
}

impl Site for GcpLab {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn sections(&self) -> Sections {
        let (access, plugin) = self.access();
        let mut environment = format!("  gcp:\n{}    services:\n", self.provider());
        let vault = self.lab.vault();
        for name in SERVICES {
            environment.push_str(&format!(
                "      {name}:
        listen: null
        workload:
          command: null
          workingFolder: null
          image: {IMAGE}
          settings: {{ args: [{name}, --vault, {vault}, --release, \"${{release}}\"] }}\n",
                vault = vault.display(),
            ));
        }
        Sections { access, plugin, environment }
    }

    fn ports(&self) -> [u16; 4] {
        let facts = self.facts();
        let uri = |service: &str| {
            let all = facts["services"].as_array().unwrap();
            let found = all.iter().find(|of| of["labels"]["basb-host_service"] == service);
            let uri = found.unwrap_or_else(|| panic!("{facts}"))["uri"].as_str().unwrap();
            uri.rsplit(':').next().unwrap().parse().unwrap()
        };
        SERVICES.map(uri)
    }

    fn revisions(&self, service: &str) -> Vec<String> {
        let fact = self.fact(service);
        let name = |target: &Value| target["revision"].as_str().unwrap().to_owned();
        let mut led: Vec<String> = fact["traffic"].as_array().unwrap().iter().map(name).collect();
        led.sort();
        led.dedup();
        let label = |name: &String| {
            let all = fact["revisions"].as_array().unwrap();
            let found = all.iter().find(|of| of["name"] == name.as_str()).unwrap_or_else(|| panic!("{fact}"));
            found["labels"]["basb-host_revision"].as_str().unwrap_or("of somebody").to_owned()
        };
        led.iter().map(label).collect()
    }

    fn meddle(&self) {
        let name = self.fact("capture")["name"].as_str().unwrap().to_owned();
        assert_eq!(self.client(&["traffic", &name])["changed"], 1);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command(args);
        command.env("GCP_KEY", &self.key);
        command
    }
}
