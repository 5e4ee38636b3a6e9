//! Azure on this machine: a model of Container Apps and of Entra that checks every request by what Microsoft publishes, and
//! Microsoft's own client, which looks and meddles.

use std::path::{Path, PathBuf};
use std::process::Command;

use basb_counterparts::process::Process;
use basb_counterparts::{install, port};
use basb_e2e::{Following, Lab, Output};
use serde_json::{Value, json};

use crate::python;
use crate::suite::{self, SERVICES, Sections, Site};

/// The image behind which the model runs the services of the example.
pub const IMAGE: &str =
    "registry.example/second-brain@sha256:a2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a1";

/// What the documentation's example says, so that its grants can be used as they are.
const SUBSCRIPTION: &str = "3e5d1c2a-7b1f-4c55-9a55-0c2f5a0f7d11";
const GROUP: &str = "second-brain";
const CLIENT: &str = "7d1a52c1-90f5-4a2e-8a36-5b1d3b0a1c55";
const SECRET: &str = "a2~not-a-real-client-secret";

/// Azure on this machine, and a place to deploy from.
pub struct AzureLab {
    /// Where basb-host runs.
    pub lab: Lab,
    /// What stands in `config:` beside what every deployment needs, such as `scale: { min: 2 }`.
    pub more: String,
    /// So many of [`SERVICES`] are deployed, the first ones.
    pub services: usize,
    arm: u16,
    entra: u16,
    ports: [u16; 4],
    previews: [u16; 4],
    settings: Value,
    python: PathBuf,
    _model: Process,
}

impl AzureLab {
    /// Starts everything; `None`, and a message on standard error, when it is not installed. The role of basb-host's client
    /// allows these methods; an operation is looked at so often until it can have ended.
    ///
    /// # Panics
    /// When something that is installed does not start.
    #[must_use]
    pub fn start(may: &[&str], looks: u32) -> Option<AzureLab> {
        let alone = "python3 -m venv ~/.cache/basb-host/counterparts/azure && \
                     ~/.cache/basb-host/counterparts/azure/bin/pip install azure-mgmt-appcontainers==5.1.0 \
                     jsonschema==4.26.0 requests==2.34.2";
        let python = install::find_or_say("azure/bin/python", "basb-azure-python", alone)?;
        let (ports, previews) = (std::array::from_fn(|_| port::free()), std::array::from_fn(|_| port::free()));
        let mut fronts = serde_json::Map::new();
        for (index, name) in SERVICES.iter().enumerate() {
            fronts.insert((*name).to_owned(), json!(ports[index]));
            fronts.insert(format!("{name}---candidate"), json!(previews[index]));
        }
        let settings = json!({
            "commands": { IMAGE: [basb_e2e::program("second-brain")] },
            "fronts": fronts,
            "tenant": "contoso.onmicrosoft.com",
            "clientId": CLIENT,
            "clientSecret": SECRET,
            "subscription": SUBSCRIPTION,
            "group": GROUP,
            "looks": looks,
            "may": may,
        });
        let (arm, entra) = (port::free(), port::free());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let model = Process::listening_on("the model of Container Apps", arm, || {
            let mut command = Command::new(&python);
            command
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg(folder.join("programs/azure_container_apps.py"))
                .args([arm.to_string(), entra.to_string()])
                .arg(folder.join("data/azure/Microsoft.App.2025-07-01.schema.json"))
                .arg(settings.to_string());
            command
        });
        Some(AzureLab {
            lab: Lab::new(),
            more: String::new(),
            services: SERVICES.len(),
            arm,
            entra,
            ports,
            previews,
            settings,
            python,
            _model: model,
        })
    }

    /// Runs a command of Microsoft's client.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn client(&self, args: &[&str]) -> Value {
        let program = include_str!("../programs/azure_client.py");
        let places = [self.arm, self.entra].map(|port| format!("http://127.0.0.1:{port}"));
        let settings = self.settings.to_string();
        let all: Vec<&str> = [places[0].as_str(), places[1].as_str(), settings.as_str()]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        python::json(&self.python, program, &all)
    }

    /// Every container app, as Microsoft's client sees it.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn facts(&self) -> Vec<Value> {
        self.client(&["facts"]).as_array().unwrap().clone()
    }

    /// The app of a service.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn app(&self, service: &str) -> Value {
        let facts = self.facts();
        facts.iter().find(|app| app["service"] == service).unwrap_or_else(|| panic!("{facts:?}")).clone()
    }

    /// The active revisions of the app of a service, as Microsoft's client sees them.
    #[must_use]
    pub fn active(&self, service: &str) -> Vec<Value> {
        let app = self.app(service);
        app["revisions"].as_array().unwrap().iter().filter(|of| of["active"] == true).cloned().collect()
    }

    /// Runs `basb-host` to its end.
    #[must_use]
    pub fn host(&self, args: &[&str]) -> Output {
        Following::start(Site::command(self, args)).end()
    }

    /// `basb-host run --json` of a release, to its end.
    #[must_use]
    pub fn run(&self, release: u8) -> Output {
        suite::to_its_end(self, &["--json", "run", "--set", &format!("release={release}")])
    }

    /// Every request that the model was asked, oldest first.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        let program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
        let url = format!("http://127.0.0.1:{}/log", self.entra);
        python::json(&self.python, program, &[&url]).as_array().unwrap().clone()
    }
}

impl Site for AzureLab {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn sections(&self) -> Sections {
        let (arm, entra) = (self.arm, self.entra);
        let access = format!(
            "secrets:\n  azure-secret: {{ store: env, key: AZURE_CLIENT_SECRET }}\ncredentials:\n  azure:\n    to: [{{ host: \
             127.0.0.1, scheme: http, port: {arm} }}]\n    azureClient: {{ tenant: contoso.onmicrosoft.com, clientId: \
             {CLIENT}, clientSecret: azure-secret, authority: \"http://127.0.0.1:{entra}\" }}\n"
        );
        let plugin = format!(
            "  azure:\n    source: \"builtin:provider-azure\"\n    credentials: [azure]\n    grants:\n      http:\n{}",
            documented_grants(arm)
        );
        let mut environment = format!(
            "  azure:
    provider:
      plugin: azure
      config:
        subscription: {SUBSCRIPTION}
        resourceGroup: {GROUP}
        location: westeurope
        environment: main
        endpoint: \"http://127.0.0.1:{arm}\"
        ingress: {{ external: true }}
{}        services:\n",
            self.more
        );
        for (index, name) in SERVICES[..self.services].iter().enumerate() {
            environment.push_str(&format!(
                "          {name}: {{ url: \"http://127.0.0.1:{}\", previewUrl: \"http://127.0.0.1:{}\" }}\n",
                self.ports[index], self.previews[index]
            ));
        }
        environment.push_str("    services:\n");
        for name in &SERVICES[..self.services] {
            environment.push_str(&format!(
                "      {name}:
        listen: null
        workload:
          command: null
          workingFolder: null
          image: {IMAGE}
          settings: {{ args: [{name}, --vault, {vault}, --release, \"${{release}}\"] }}\n",
                vault = self.lab.vault().display(),
            ));
        }
        Sections { access, plugin, environment }
    }

    fn ports(&self) -> [u16; 4] {
        self.ports
    }

    fn revisions(&self, service: &str) -> Vec<String> {
        self.active(service).iter().map(|of| of["revision"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn meddle(&self) {
        assert!(self.client(&["resize", "capture", "5"])["changed"].is_string());
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command(args);
        command.env("AZURE_CLIENT_SECRET", SECRET);
        command
    }
}

/// The grants that the documentation gives: what is tested is what is pasted.
fn documented_grants(port: u16) -> String {
    let page = include_str!("../../../docs/providers/azure.md");
    let lines: Vec<&str> = page
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("- { host: management.azure.com, methods"))
        .collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let here = |line: &str| {
        let (_, rest) = line.split_once("management.azure.com").unwrap();
        format!("        - {{ host: 127.0.0.1, scheme: http, port: {port}{rest}\n")
    };
    lines.into_iter().map(here).collect()
}
