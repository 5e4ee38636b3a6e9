//! AWS on this machine: moto (Elastic Load Balancing, Lambda, IAM and STS, with signatures and policies verified),
//! MiniStack (ECS with or without containers, and Lambda), and a load balancer of our own that goes by their rules; or fakecloud
//! in the place of moto, which is a load balancer itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use basb_counterparts::emulator::{AccessKey, Emulator};
use basb_counterparts::fakecloud;
use basb_counterparts::install;
use basb_counterparts::ministack::{self, MiniStack, Tasks};
use basb_counterparts::moto::{self, Auth};
use basb_counterparts::port;
use basb_counterparts::process::Process;
use basb_e2e::Lab;
use basb_e2e::engine::{self, Engine, Kind};
use serde_json::{Value, json};

use crate::python;

/// AWS on this machine, and a place to deploy from.
pub struct AwsLab {
    /// Where basb-host runs.
    pub lab: Lab,
    /// The keys that basb-host signs with.
    pub deployer: AccessKey,
    /// What the deployment expects to be there.
    pub there: Value,
    /// Where users reach each service.
    pub ports: Vec<(String, u16)>,
    /// Where its candidate is reached.
    pub previews: Vec<(String, u16)>,
    emulator: Emulator,
    ministack: MiniStack,
    admin: AccessKey,
    python: PathBuf,
    _balancer: Process,
    // The last one: what runs in it is asked for until nobody asks any more.
    engine: Option<Engine>,
}

impl AwsLab {
    /// Starts everything for these services, with a role `deploy` that has this policy and that the keys may assume, and
    /// nothing else; `None`, and a message on standard error, when something is not installed.
    ///
    /// # Panics
    /// When something that is installed does not start.
    #[must_use]
    pub fn start(services: &[&str], policy: &Value, verified: Verified) -> Option<AwsLab> {
        let moto = moto::start(if verified == Verified::Yes { Auth::AfterFirst(6) } else { Auth::Off })?;
        Self::begin(services, policy, (moto, Shared::ByUs), None)
    }

    /// The same, where tasks are containers of a real engine, from [`CONTAINER_IMAGE`].
    ///
    /// # Panics
    /// As [`AwsLab::start`].
    #[must_use]
    pub fn with_containers(services: &[&str], policy: &Value) -> Option<AwsLab> {
        let moto = moto::start(Auth::AfterFirst(6))?;
        Self::begin(services, policy, (moto, Shared::ByUs), Some(with_image()?))
    }

    /// The same, where fakecloud checks the containers and shares requests out among them.
    ///
    /// # Panics
    /// As [`AwsLab::start`].
    #[must_use]
    pub fn behind_fakecloud(services: &[&str], policy: &Value) -> Option<AwsLab> {
        Self::begin(services, policy, (fakecloud::start()?, Shared::ByTheEmulator), Some(with_image()?))
    }

    fn begin(
        services: &[&str],
        policy: &Value,
        (emulator, shared): (Emulator, Shared),
        engine: Option<Engine>,
    ) -> Option<AwsLab> {
        let socket = engine.as_ref().map(Engine::socket);
        let ministack = ministack::start(socket.clone().map_or(Tasks::InNameOnly, Tasks::Containers))?;
        let python = install::folder().join("moto/bin/python");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let everything =
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
        let assume = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::123456789012:role/deploy"}]});
        let (admin, deployer) = runtime
            .block_on(async { (emulator.user("admin", &everything).await, emulator.user("deployer", &assume).await) });
        let endpoints = [emulator.endpoint.as_str(), ministack.endpoint.as_str()];
        let setup = include_str!("../programs/aws_setup.py");
        let deploy = policy.to_string();
        let there = python::json(&python, setup, &[endpoints[0], endpoints[1], &admin.id, &admin.secret, &deploy]);
        let free = || -> Vec<(String, u16)> { services.iter().map(|of| ((*of).to_owned(), port::free())).collect() };
        let (ports, previews) = (free(), free());
        let socket = socket.unwrap_or_default();
        let balancer = balancer(&python, &endpoints, &admin, &there, (&socket, shared), (&ports, &previews));
        Some(AwsLab {
            lab: Lab::new(),
            deployer,
            there,
            ports,
            previews,
            emulator,
            ministack,
            admin,
            python,
            _balancer: balancer,
            engine,
        })
    }

    /// The engine that tasks are containers of.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("tasks are containers here")
    }

    /// The image of the example, and the first word of a container's command, which has none of its own.
    #[must_use]
    pub fn image(&self) -> (&'static str, Option<&'static str>) {
        if self.engine.is_some() { (CONTAINER_IMAGE, Some("/bin/second-brain")) } else { (IMAGE, None) }
    }

    /// How many containers of each ECS service run, as Docker's own client sees it.
    ///
    /// # Panics
    /// When there is no engine.
    #[must_use]
    pub fn containers(&self) -> BTreeMap<String, usize> {
        let family = "{{.Label \"com.amazonaws.ecs.task-definition-family\"}}";
        let mut counts = BTreeMap::new();
        for line in self.engine().cli(&["ps", "--format", family]).lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Ends the tasks whose containers are gone: MiniStack takes it that it could not look, and keeps them. How many.
    ///
    /// # Panics
    /// When there is no engine, or MiniStack refuses.
    #[must_use]
    pub fn end_tasks_without_container(&self) -> u64 {
        let arns = self.engine().cli(&["ps", "--format", "{{.Label \"com.amazonaws.ecs.task-arn\"}}"]);
        let arns: Vec<&str> = arns.lines().collect();
        self.at_ministack(include_str!("../programs/aws_end_tasks.py"), &arns)["ended"].as_u64().unwrap()
    }

    /// The one function, as boto3 sees it there.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn function(&self, at: Functions) -> Value {
        let program = include_str!("../programs/aws_function.py");
        let endpoint = format!("http://127.0.0.1:{}", self.functions_port(at));
        python::json(&self.python, program, &[&endpoint, &self.admin.id, &self.admin.secret])
    }

    /// Puts a function's package into MiniStack's S3: its bucket, key and digest.
    ///
    /// # Panics
    /// When it cannot be put there.
    #[must_use]
    pub fn package(&self) -> Value {
        self.at_ministack(include_str!("../programs/aws_package.py"), &[])
    }

    /// What the function answers there, by an alias or a version.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn called(&self, qualifier: &str) -> Value {
        self.at_ministack(include_str!("../programs/aws_invoke.py"), &[qualifier])
    }

    fn at_ministack(&self, program: &str, more: &[&str]) -> Value {
        let args = [self.ministack.endpoint.as_str(), &self.admin.id, &self.admin.secret];
        python::json(&self.python, program, &[&args, more].concat())
    }

    /// ECS services, target groups and rules, as boto3 sees them.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn facts(&self) -> Value {
        self.boto3(include_str!("../programs/aws_facts.py"))
    }

    /// Runs a program of boto3's with the same arguments as [`AwsLab::facts`].
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn boto3(&self, program: &str) -> Value {
        let listener = self.there["listener"].as_str().unwrap();
        let args = [
            self.emulator.endpoint.as_str(),
            self.ministack.endpoint.as_str(),
            &self.admin.id,
            &self.admin.secret,
            listener,
        ];
        python::json(&self.python, program, &args)
    }

    /// The port of moto, or of what stands in its place.
    #[must_use]
    pub fn emulator_port(&self) -> u16 {
        self.emulator.endpoint.port().unwrap()
    }

    /// The port where functions are.
    #[must_use]
    pub fn functions_port(&self, at: Functions) -> u16 {
        match at {
            Functions::AtMoto => self.emulator_port(),
            Functions::AtMiniStack => self.ministack_port(),
        }
    }

    /// The port of MiniStack.
    #[must_use]
    pub fn ministack_port(&self) -> u16 {
        self.ministack.endpoint.port().unwrap()
    }

    /// A `basb-host` command with the deployer's keys in its environment.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command(args);
        command.env("AWS_ID", &self.deployer.id).env("AWS_KEY", &self.deployer.secret);
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

    /// The environment `aws` for containers, below `environments:`: its provider, and where each service is reached.
    ///
    /// # Panics
    /// When what was set up is not as it was.
    #[must_use]
    pub fn environment(&self) -> String {
        let reached: String = self
            .ports
            .iter()
            .zip(&self.previews)
            .map(|((name, port), (_, preview))| {
                format!(
                    "          {name}: {{ hosts: [{name}.example], url: \"http://127.0.0.1:{port}\", previewUrl: \
                     \"http://127.0.0.1:{preview}\" }}\n"
                )
            })
            .collect();
        format!(
            "  aws:
    provider:
      plugin: aws
      config:
        region: eu-west-1
        endpoints: {{ ecs: \"http://127.0.0.1:{ecs}\", elasticLoadBalancing: \"http://127.0.0.1:{elb}\" }}
        ecs:
          cluster: main
          vpc: {vpc}
          listener: {listener}
          network: {{ subnets: {subnets}, securityGroups: [{group}] }}
          imageTags: {tags}
          healthInterval: 5s
          preview: {{ listener: {previews}, url: \"http://{{service}}.preview\" }}
        services:
{reached}",
            ecs = self.ministack_port(),
            elb = self.emulator_port(),
            vpc = self.there["vpc"].as_str().unwrap(),
            listener = self.there["listener"].as_str().unwrap(),
            subnets = self.there["subnets"],
            // What an engine has by `docker import` has no digest that it could be named by.
            tags = if self.engine.is_some() { "allow" } else { "refuse" },
            group = self.there["securityGroup"].as_str().unwrap(),
            previews = self.there["previews"].as_str().unwrap(),
        )
    }

    /// The sections of a deployment file that say how AWS is reached: secrets, credentials, and the plugin `aws` with the
    /// grants that the documentation gives.
    #[must_use]
    pub fn access(&self, service: Service) -> String {
        let (moto, ministack) = (self.emulator_port(), self.ministack_port());
        let credential = |port: u16, service: &str| {
            format!(
                "  {service}:\n    to: [{{ host: 127.0.0.1, scheme: http, port: {port} }}]\n    awsSigv4: {{ accessKeyId: \
                 aws-id, secretAccessKey: aws-key, region: eu-west-1, service: {service}{} }}\n",
                match service {
                    "lambda" | "elasticloadbalancing" => format!(
                        ", assumeRole: {{ roleArn: \"arn:aws:iam::123456789012:role/deploy\", endpoint: \"http://127.0.0.1:{moto}\" }}"
                    ),
                    _ => String::new(),
                }
            )
        };
        let (credentials, names, grants) = match service {
            Service::Ecs => (
                credential(ministack, "ecs") + &credential(moto, "elasticloadbalancing"),
                "ecs, elasticloadbalancing",
                grant(&documented("ecs"), ministack) + &grant(&documented("elasticloadbalancing"), moto),
            ),
            Service::Lambda(at) => {
                let port = self.functions_port(at);
                (credential(port, "lambda"), "lambda", grant(&documented("lambda"), port))
            }
        };
        format!(
            "secrets:\n  aws-id: {{ store: env, key: AWS_ID }}\n  aws-key: {{ store: env, key: AWS_KEY }}\ncredentials:\n\
             {credentials}plugins:\n  aws:\n    source: \"builtin:provider-aws\"\n    credentials: [{names}]\n    grants:\n      \
             http:\n{grants}"
        )
    }
}

/// The image behind which the load balancer runs the services of the example.
pub const IMAGE: &str =
    "registry.example/second-brain@sha256:5ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0d0b2a15ec0";

/// The image of the example in an engine. Nothing answers where its name leads, so it is what the engine has; and what the
/// engine has not cannot be had.
pub const CONTAINER_IMAGE: &str = "127.0.0.1:1/second-brain:1";

/// Who shares requests out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    /// A program of ours that reads the rules of the emulator.
    ByUs,
    /// The emulator itself.
    ByTheEmulator,
}

/// A Docker engine with [`CONTAINER_IMAGE`].
fn with_image() -> Option<Engine> {
    let engine = Engine::start(Kind::Docker)?;
    let _ = engine.cli(&["tag", engine::IMAGE, CONTAINER_IMAGE]);
    Some(engine)
}

/// Whether moto verifies signatures and policies. It cannot for Lambda: there it refuses boto3's own requests too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// What a deployment is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Containers.
    Ecs,
    /// Functions.
    Lambda(Functions),
}

/// Where functions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// At moto, which gives the number of a removed version out again, and takes a stale `RevisionId`.
    AtMoto,
    /// At MiniStack, which numbers versions and refuses a stale `RevisionId` as AWS does.
    AtMiniStack,
}

/// The page that users read.
const PAGE: &str = include_str!("../../../docs/providers/aws.md");

/// The grants that the documentation gives for a service: what is tested is what is pasted.
///
/// # Panics
/// When it gives none.
#[must_use]
pub fn documented(service: &str) -> Vec<String> {
    let host = format!("host: {service}.eu-central-1.amazonaws.com");
    let found: Vec<String> =
        PAGE.lines().map(str::trim).filter(|line| line.contains(&host)).map(str::to_owned).collect();
    assert!(!found.is_empty(), "{service}");
    found
}

fn grant(lines: &[String], port: u16) -> String {
    let here = |line: &String| {
        let (_, rest) = line.split_once("amazonaws.com").unwrap();
        format!("        - {{ host: 127.0.0.1, scheme: http, port: {port}{rest}\n")
    };
    lines.iter().map(here).collect()
}

/// The IAM policy that the documentation gives.
///
/// # Panics
/// When it gives none.
#[must_use]
pub fn documented_policy() -> Value {
    let (_, rest) = PAGE.split_once("```json\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    serde_json::from_str(text).unwrap()
}

/// Services and their ports.
type Ports<'a> = &'a [(String, u16)];

fn balancer(
    python: &Path,
    endpoints: &[&str; 2],
    admin: &AccessKey,
    there: &Value,
    (engine, shared): (&Path, Shared),
    (ports, previews): (Ports<'_>, Ports<'_>),
) -> Process {
    let mut hosts: Vec<String> = ports.iter().map(|(service, port)| format!("{port}={service}.example")).collect();
    hosts.extend(previews.iter().map(|(service, port)| format!("{port}=+{service}.example")));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/aws_load_balancer.py");
    let images = json!({ IMAGE: [basb_e2e::program("second-brain")] }).to_string();
    let listener = there["listener"].as_str().unwrap();
    let previewed = there["previews"].as_str().unwrap();
    let first = ports[0].1;
    Process::listening_on("the load balancer", first, || {
        let mut command = Command::new(python);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(&program)
            .args(endpoints)
            .args([&admin.id, &admin.secret])
            .args([listener, previewed, &images])
            .arg(engine)
            .arg(if shared == Shared::ByUs { "us" } else { "emulator" })
            .args(&hosts);
        command
    })
}
