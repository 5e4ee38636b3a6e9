//! The services of the example as containers of a real engine: what changes in the deployment file is the environment, and
//! nothing else. Docker's own client is the second witness.

use basb_e2e::engine::{Engine, IMAGE, Kind};
use basb_e2e::{FileOptions, Lab, Load, Mcp, swap, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;

/// What the engine may be asked for, and the environment that runs on it.
struct Docker<'a> {
    engine: &'a Engine,
    allow: &'a str,
    settings: &'a str,
}

impl<'a> Docker<'a> {
    fn of(engine: &'a Engine) -> Self {
        Self { engine, allow: "[host-network]", settings: "" }
    }

    /// The deployment file of the lab with its environment exchanged; the rest is what it was.
    fn write(&self, lab: &Lab, options: &FileOptions) {
        let text = options.text(lab.port(), lab.second_port());
        let (socket, vault) = (self.engine.socket(), lab.vault());
        let plugin = format!(
            "  docker:
    source: builtin:provider-docker
    grants:
      http:
        - {{ socket: agent, methods: [GET, PUT, DELETE], path: /v1/** }}
        - socket: docker
          at: {socket}
          containers:
            names: [\"basb.lab.*\"]
            images: [\"second-brain:*\"]
            allow: {allow}
            binds: [{{ path: {vault}, access: read-write }}]
  rollout:\n",
            socket = socket.display(),
            vault = vault.display(),
            allow = self.allow,
        );
        // Podman cannot raise the limits that it would set, in a container of its own.
        let limits = match self.engine.kind() {
            Kind::Docker => "",
            Kind::Podman => "            ulimits: { nofile: 1024, nproc: 1024 }\n",
        };
        let environment = format!(
            "environments:
  engine:
    provider: {{ plugin: docker, config: {{ network: host, drain: 2s, retain: 2 }} }}
    services:
      capture:
        workload:
          command: null
          workingFolder: null
          image: {IMAGE}
          memoryLimit: 128MiB
          settings:
            command: [/bin/second-brain, capture, --vault, /vault, --port, \"{{port}}\", --release, \"${{release}}\"]
            mounts: [{{ source: {vault}, target: /vault, writable: true }}]
{limits}{settings}",
            vault = vault.display(),
            settings = self.settings,
        );
        let text = swap(&text, "  rollout:\n", &plugin);
        lab.write_text(&swap(&text, "environments:\n  local:\n    provider: { plugin: local }\n", &environment));
    }
}

/// The names of a revision's containers.
fn of_revision(names: &[String], revision: &str) -> Vec<String> {
    names.iter().filter(|name| name.contains(&format!(".{revision}."))).cloned().collect()
}

fn revisions(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(|name| name.split('.').nth(4).unwrap()).collect()
}

fn ids(engine: &Engine, names: &[String]) -> Vec<String> {
    names.iter().map(|name| engine.inspect(name)["Id"].as_str().unwrap().to_owned()).collect()
}

fn kinds(report: &Value) -> Vec<&str> {
    let all = report["services"][0]["differences"].as_array().unwrap();
    all.iter().map(|difference| difference["kind"].as_str().unwrap()).collect()
}

fn stable(lab: &Lab) -> String {
    lab.cloud().service("capture").only().0.to_owned()
}

/// First release, nothing to do, canary under load, a broken release, drift, undo, import.
fn whole_life(kind: Kind) {
    let Some(engine) = Engine::start(kind) else { return };
    let lab = Lab::new();
    Docker::of(&engine).write(&lab, &FileOptions::default());

    let plan = lab.host(&["plan"]).exits(2);
    assert!(plan.stdout.contains("(first release)"), "{}", plan.stdout);
    assert!(plan.stdout.contains("with 2 containers"), "{}", plan.stdout);
    assert_eq!(engine.names("running"), [""; 0], "a plan makes nothing");
    assert_eq!(lab.run(1).exits(0).events().weights("capture"), [100]);
    let first = stable(&lab);
    let containers = of_revision(&engine.names("running"), &first);
    assert_eq!(containers, [0, 1].map(|n| format!("basb.lab.engine.capture.{first}.{n}")));
    let about = engine.inspect(&containers[0]);
    assert_eq!(about["Config"]["Labels"]["basb-host:revision"], *first);
    assert_eq!(about["Config"]["Labels"]["basb-host:deployment"], "lab");
    assert_eq!(about["HostConfig"]["Memory"], 128 << 20);
    assert_eq!(about["HostConfig"]["Privileged"], false);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    let first_ids = ids(&engine, &containers);

    // The same again changes nothing.
    let plan = lab.host(&["plan"]).exits(0);
    assert!(plan.stdout.contains("nothing to do"), "{}", plan.stdout);
    assert_eq!(lab.run(1).exits(0).events().count("service.unchanged"), 1);
    assert_eq!(ids(&engine, &engine.names("running")), first_ids);
    lab.host(&["drift"]).exits(0);

    // A canary under load.
    let load = Load::start(lab.port());
    let events = lab.run(2).exits(0).events();
    let report = load.stop();
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(events.weights("capture"), [20, 50, 80, 100]);
    assert!(report.answered.keys().eq(&[1, 2]), "both releases had traffic: {report:?}");
    let second = stable(&lab);
    assert_eq!(of_revision(&engine.names("running"), &second).len(), 2);
    assert_eq!(engine.names("running").len(), 2, "the old ones stopped");
    assert_eq!(engine.names("exited"), containers, "and are kept");

    // A broken release goes back by itself; what serves is left alone.
    let second_ids = ids(&engine, &engine.names("running"));
    let out = lab.run(3).exits(3);
    assert_eq!(out.events().weights("capture"), [20, 0]);
    assert_eq!(ids(&engine, &engine.names("running")), second_ids);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    let kept = engine.names("exited");
    assert_eq!(of_revision(&kept, &first), containers, "{kept:?}");
    assert_eq!(revisions(&kept).len(), 2, "of two revisions, as `retain` says: {kept:?}");

    // Somebody removes a container, and changes another one.
    let live = engine.names("running");
    engine.cli(&["rm", "--force", &live[1]]);
    wait_for("the difference", || {
        let out = lab.host(&["--json", "drift"]);
        (out.code == Some(2)).then(|| assert_eq!(kinds(&out.json()), ["available"]))
    });
    lab.run(2).exits(0);
    assert_eq!(engine.names("running"), live, "it is there again");
    lab.host(&["drift"]).exits(0);
    if kind == Kind::Docker {
        engine.cli(&["update", "--pids-limit", "7", &live[0]]);
        let out = lab.host(&["--json", "drift"]).exits(2);
        assert_eq!(kinds(&out.json()), ["workload"], "{}", out.stdout);
        assert!(out.stdout.contains("which somebody changed (settings.pids)"), "{}", out.stdout);
        engine.cli(&["update", "--pids-limit", "512", &live[0]]);
        lab.host(&["drift"]).exits(0);
    }

    let live_ids = ids(&engine, &live);

    // Back to what was stable before, and on again: containers that were kept are started, not made.
    lab.host(&["undo"]).exits(0);
    assert_eq!(stable(&lab), first);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    assert_eq!(engine.names("running"), containers);
    assert_eq!(ids(&engine, &containers), first_ids, "started, not made");
    let load = Load::start(lab.port());
    lab.host(&["undo", "--service", "capture", "--to-revision", "2"]).exits(0);
    assert_eq!(load.stop().failed, Vec::<String>::new());
    assert_eq!(stable(&lab), second);
    assert_eq!(ids(&engine, &live), live_ids, "the very containers that were kept");

    // The journal is lost; what runs goes on.
    let running = ids(&engine, &engine.names("running"));
    std::fs::rename(lab.state().join("journal"), lab.root().join("lost")).unwrap();
    assert_eq!(kinds(&lab.host(&["--json", "drift"]).exits(2).json()), ["unmanaged"]);
    let out = lab.host(&["--json", "import", "--set", "release=2"]).exits(0);
    assert!(out.stderr.contains(&format!("capture: {second} is there with all of the traffic")), "{}", out.stderr);
    assert_eq!(ids(&engine, &engine.names("running")), running, "nothing was touched");
    lab.host(&["drift"]).exits(0);
    lab.run(1).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    let kept = engine.names("exited");
    assert_eq!(revisions(&kept).len(), 2, "{kept:?}");
    lab.stop();
}

#[test]
fn the_whole_life_of_a_service_on_docker() {
    whole_life(Kind::Docker);
}

#[test]
fn the_whole_life_of_a_service_on_podman() {
    whole_life(Kind::Podman);
}

#[test]
fn blue_green_on_docker() {
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let lab = Lab::new();
    let config = "{ previewReplicaCount: 1, prePromotionAnalysis: { templates: [healthy] } }";
    let options = FileOptions { strategy: "strategy-blue-green", config, ..FileOptions::default() };
    Docker::of(&engine).write(&lab, &options);
    lab.run(1).exits(0);
    let first = stable(&lab);
    let load = Load::start(lab.port());
    let events = lab.run(2).exits(0).events();
    assert_eq!(load.stop().failed, Vec::<String>::new());
    assert_eq!(events.weights("capture"), [100], "all at once");
    let second = stable(&lab);
    assert_eq!(of_revision(&engine.names("running"), &second).len(), 2);
    assert_eq!(of_revision(&engine.names("exited"), &first).len(), 2);
    let out = lab.run(3).exits(3);
    assert_eq!(out.events().weights("capture"), [0], "a preview that fails gets no traffic");
    assert_eq!(stable(&lab), second);
    lab.stop();
}

/// A service gets a secret, and nobody else: not the plugin, not a label, not the journal.
#[test]
fn a_secret_reaches_the_container_and_no_label() {
    const TOKEN: &str = "token-Kx81-planted-AAbb==xyz";
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let lab = Lab::new();
    Docker::of(&engine).write(&lab, &FileOptions::default());
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let text = swap(
        &text,
        "plugins:\n",
        "secrets: { token: { store: env, key: LAB_TOKEN } }\ncredentials:
  token: { to: [{ socket: docker }], placeholder: token }\nplugins:\n",
    );
    let text = swap(&text, "  docker:\n    source", "  docker:\n    credentials: [token]\n    source");
    let text = swap(&text, "          memoryLimit: 128MiB\n", "          env: { TOKEN: \"${secret.token}\" }\n");
    lab.write_text(&text);
    let host = |args: &[&str]| {
        let mut command = lab.command(args);
        command.env("LAB_TOKEN", TOKEN);
        basb_e2e::Following::start(command).end()
    };
    host(&["--json", "run", "--set", "release=1"]).exits(0);
    let names = engine.names("running");
    assert_eq!(names.len(), 2);
    for name in &names {
        let about = engine.inspect(name);
        let env = about["Config"]["Env"].as_array().unwrap();
        assert!(env.iter().any(|line| line == &format!("TOKEN={TOKEN}")), "{env:?}");
        assert!(!about["Config"]["Labels"].to_string().contains(TOKEN), "{}", about["Config"]["Labels"]);
    }
    // What was made is what would be made: a secret is no difference, and a label tells how to make more of it.
    host(&["drift"]).exits(0);
    assert!(host(&["plan"]).exits(0).stdout.contains("nothing to do"));
    host(&["--json", "run", "--set", "release=2"]).exits(0);
    let about = engine.inspect(&engine.names("running")[1]);
    assert!(about["Config"]["Env"].to_string().contains(TOKEN), "scaled up from what a label says");
    // A copy of the journal that nobody can wait for is enough: it is in no file of the state folder.
    for folder in [lab.state().join("journal"), lab.root().to_owned()] {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
    lab.stop();
}

#[test]
fn what_is_not_granted_is_refused_at_the_door() {
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let lab = Lab::new();
    let cases = [
        ("[]", "", "`allow: [host-network]`"),
        ("[host-network]", "            privileged: true\n", "`allow: [privileged]`"),
        ("[host-network]", "            hostPid: true\n", "`allow: [host-pid]`"),
        ("[host-network]", "            capAdd: [SYS_ADMIN]\n", "`capabilities: [SYS_ADMIN]`"),
        ("[host-network]", "            devices: [/dev/kmsg]\n", "`devices: [/dev/kmsg]`"),
    ];
    for (allow, settings, line) in cases {
        Docker { engine: &engine, allow, settings }.write(&lab, &FileOptions::default());
        // What was agreed to before is not what this is about.
        let _ = std::fs::remove_file(lab.root().join("basb.lock"));
        let out = lab.host(&["run", "--set", "release=1"]);
        assert_ne!(out.code, Some(0));
        let said = format!("{}{}", out.stdout, out.stderr);
        let flat: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(line), "{line}:\n{said}");
        assert_eq!(engine.cli(&["ps", "--all", "--quiet"]), "", "no container was made: {settings}");
    }
    // What is no image of the grant, and an image that the engine has not.
    let docker = Docker::of(&engine);
    docker.write(&lab, &FileOptions::default());
    let _ = std::fs::remove_file(lab.root().join("basb.lock"));
    let text = std::fs::read_to_string(lab.file()).unwrap();
    lab.write_text(&swap(&text, &format!("image: {IMAGE}"), "image: second-brain:nope"));
    let out = lab.host(&["plan"]);
    assert!(out.stderr.contains("docker pull second-brain:nope"), "{}{}", out.stdout, out.stderr);
    lab.write_text(&swap(&text, &format!("image: {IMAGE}"), "image: alpine"));
    let out = lab.host(&["plan"]);
    assert!(out.stderr.contains("`images` in its entry"), "{}{}", out.stdout, out.stderr);
}

#[test]
fn a_container_that_does_not_come_up_is_given_up_with_its_last_words() {
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let lab = Lab::new();
    let docker = Docker::of(&engine);
    docker.write(&lab, &FileOptions::default());
    let text = std::fs::read_to_string(lab.file()).unwrap();
    lab.write_text(&swap(&text, "[/bin/second-brain, capture", "[/bin/second-brain, nonsense"));
    let out = lab.run(1).exits(3);
    let said = out.stdout;
    assert!(said.contains("its output ends with") && said.contains("unrecognized subcommand"), "{said}");
    lab.write_text(&swap(&text, "[/bin/second-brain, capture", "[/bin/nothing, capture"));
    let out = lab.run(1).exits(3);
    assert!(out.stdout.contains("/bin/nothing"), "the engine's own words: {}", out.stdout);
    // Nothing is left of either but what `retain` keeps.
    assert_eq!(engine.names("running"), [""; 0]);
    lab.stop();
}
