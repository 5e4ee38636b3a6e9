//! The example as containers of a real engine.

use basb_e2e::engine::{Engine, IMAGE, Kind};
use basb_e2e::{Lab, free_port};
use basb_providers_e2e::suite::{self, SERVICES, Sections, Site};

struct Containers {
    engine: Engine,
    lab: Lab,
    ports: [u16; 4],
}

impl Site for Containers {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn sections(&self) -> Sections {
        let (socket, vault) = (self.engine.socket(), self.lab.vault());
        let (socket, vault) = (socket.display(), vault.display());
        let plugin = format!(
            "  docker:
    source: builtin:provider-docker
    grants:
      http:
        - {{ socket: agent, methods: [GET, PUT, DELETE], path: /v1/** }}
        - socket: docker
          at: {socket}
          containers:
            names: [\"basb.second-brain.*\"]
            images: [\"second-brain:*\"]
            allow: [host-network]
            binds: [{{ path: {vault}, access: read-write }}]\n"
        );
        // Podman cannot raise the limits that it would set, in a container of its own.
        let limits = match self.engine.kind() {
            Kind::Docker => "",
            Kind::Podman => "            ulimits: { nofile: 1024, nproc: 1024 }\n",
        };
        let mut environment = "  containers:
    provider: { plugin: docker, config: { network: host } }
    services:\n"
            .to_owned();
        for (name, port) in SERVICES.iter().zip(self.ports) {
            environment.push_str(&format!(
                "      {name}:
        listen: 127.0.0.1:{port}
        workload:
          command: null
          workingFolder: null
          image: {IMAGE}
          settings:
            command: [/bin/second-brain, {name}, --vault, /vault, --release, \"${{release}}\"]
            mounts: [{{ source: {vault}, target: /vault, writable: true }}]\n{limits}"
            ));
        }
        Sections { plugin, environment, ..Sections::default() }
    }

    fn ports(&self) -> [u16; 4] {
        self.ports
    }

    fn revisions(&self, service: &str) -> Vec<String> {
        let prefix = format!("basb.second-brain.containers.{service}.");
        let running = self.engine.names("running");
        let of = running.iter().filter_map(|name| Some(name.strip_prefix(&prefix)?.split('.').next()?.to_owned()));
        let mut revisions: Vec<String> = of.collect();
        revisions.dedup();
        revisions
    }

    fn meddle(&self) {
        let names = self.engine.names("running");
        let one = names.iter().find(|name| name.contains(".capture.")).unwrap();
        self.engine.cli(&["rm", "--force", one]);
        // The agent finds it out by asking.
        basb_e2e::wait_for("the agent's notice", || {
            let (_, revision) =
                self.lab.cloud().service("capture").revisions.iter().next().map(|(k, v)| (k.clone(), v.clone()))?;
            (revision.available < revision.desired).then_some(())
        });
    }
}

fn on(kind: Kind) {
    let Some(engine) = Engine::start(kind) else { return };
    let site = Containers { engine, lab: Lab::new(), ports: std::array::from_fn(|_| free_port()) };
    suite::second_brain(&site);
    site.lab.stop();
}

#[test]
fn the_example_on_docker() {
    on(Kind::Docker);
}

#[test]
fn the_example_on_podman() {
    on(Kind::Podman);
}
