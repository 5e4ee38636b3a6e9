//! The deployment file of the tests: like that of the example, with one or two services and short delays.

use crate::program;

/// A canary in three weights.
pub const CANARY: &str = "{ steps: [ { setWeight: 20 }, { analysis: { templates: [healthy] } }, { setWeight: 50 }, \
                          { pause: { duration: 300ms } }, { setWeight: 80 }, { analysis: { templates: [healthy] } } ] }";

/// What differs from test to test.
#[derive(Debug, Clone, Copy)]
pub struct FileOptions {
    /// The builtin strategy.
    pub strategy: &'static str,
    /// Its configuration, as YAML in one line.
    pub config: &'static str,
    /// How many instances the services have.
    pub replicas: u32,
    /// Whether there is a second service, which depends on the first.
    pub two: Two,
}

/// Whether there is a second service, which depends on the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Two {
    /// There is.
    Yes,
    /// There is not.
    No,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { strategy: "strategy-canary", config: CANARY, replicas: 2, two: Two::No }
    }
}

impl FileOptions {
    /// The file's text.
    #[must_use]
    pub fn text(&self, port: u16, second: u16) -> String {
        let Self { strategy, config, replicas, two } = self;
        let program = program("second-brain");
        let service = |name: &str, port: u16, depends: &str| {
            format!(
                "  {name}:
    workload:
      command: [\"${{program}}\", {name}, --vault, \"${{vault}}\", --release, \"${{release}}\"]
      workingFolder: .
      ready: {{ http: /healthz }}
      minReady: 100ms
      stopGrace: 2s
    replicas: {replicas}
    listen: 127.0.0.1:{port}
{depends}    strategy: careful
    readiness: [health]
    verify: [health, tools]
    bake: {{ duration: 300ms, analyses: [healthy] }}
    progressDeadline: 30s
    scaleDownDelay: 100ms
    abortScaleDownDelay: 100ms
"
            )
        };
        let mut services = service("capture", port, "");
        if *two == Two::Yes {
            services.push_str(&service("organize", second, "    dependsOn: [capture]\n"));
        }
        format!(
            "version: 1
name: lab

vars:
  program: {program}
  vault: ./vault
  release: \"1\"

plugins:
  local:
    source: builtin:provider-local
    grants:
      http:
        - {{ socket: agent, methods: [GET, PUT, DELETE], path: /v1/** }}
  rollout:
    source: builtin:{strategy}
  mcp:
    source: builtin:probe-mcp
    grants:
      http:
        - {{ target: service, methods: [GET, POST, DELETE], path: /mcp }}
  http:
    source: builtin:probe-http
    grants:
      http:
        - {{ target: service, methods: [GET], path: /healthz }}
  obsidian:
    source: builtin:notifier-obsidian
    grants:
      files:
        - {{ folder: vault, path: \"${{vault}}\", access: read-write }}

environments:
  local:
    provider: {{ plugin: local }}

services:
{services}
strategies:
  careful:
    plugin: rollout
    config: {config}

probes:
  health:
    plugin: http
    config: {{ path: /healthz }}
  tools:
    plugin: mcp
    config:
      path: /mcp
      expectTools: [vault_stats]
      call: {{ tool: vault_stats, count: 8, minSuccessRate: 1 }}

analyses:
  healthy:
    metrics:
      - name: tool-success
        probe: tools
        interval: 100ms
        count: 3
        successCondition: result.success_rate >= 0.99
        failureLimit: 0

notifiers:
  daily-log:
    plugin: obsidian
",
            program = program.display()
        )
    }
}

/// A text with one thing in it replaced.
///
/// # Panics
/// When that thing is not there exactly once.
#[must_use]
#[track_caller]
pub fn swap(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` must be there once in:\n{text}");
    text.replacen(from, to, 1)
}
