//! A plugin that behaves, in the same host as the hostile one: it must not notice anything.

use crate::lab::{NAME, check, patient, request};
use crate::server::Server;
use basb_runtime::{CallOptions, Kind, Plugin, Runtime};
use serde_json::json;
use std::time::{Duration, Instant};

/// A plugin that behaves, and the service that it looks at.
pub struct Neighbour {
    plugin: Plugin,
    server: Server,
}

impl Neighbour {
    /// Loads it, and has it work once.
    pub async fn new(runtime: &Runtime, bytes: &[u8]) -> Self {
        let grants = json!({
            "http": [{"target": "service"}],
            "tcp": [{"host": "nowhere.invalid", "port": 1}],
            "exec": [{"program": "nothing", "path": "/nonexistent"}],
        });
        let request = basb_runtime::LoadRequest {
            name: basb_core::PluginName::new("neighbour").unwrap(),
            ..request(Kind::Probe, &grants)
        };
        assert_ne!(request.name.as_str(), NAME);
        let plugin = runtime.load_blocking(bytes, request).unwrap();
        let neighbour = Self { plugin, server: Server::friendly().await };
        neighbour.works().await.unwrap();
        neighbour
    }

    /// Whether it works: it asks its service, and tells what it heard.
    pub async fn works(&self) -> Result<(), String> {
        let called = check(&self.plugin, &patient(), "\"get\"", &self.server.url("/health")).await;
        match called {
            Ok(called) if called.value.summary == "200 hello" => Ok(()),
            Ok(called) => Err(format!("the neighbour saw `{}`", called.value.summary)),
            Err(error) => Err(format!("the neighbour failed: {error}")),
        }
    }

    /// The time within which 99 of 100 of its calls end.
    pub async fn p99(&self, calls: usize) -> Result<Duration, String> {
        let options = CallOptions::new(Duration::from_secs(30));
        let url = self.server.url("/health");
        let mut times = Vec::with_capacity(calls);
        for _ in 0..calls {
            let start = Instant::now();
            let called = check(&self.plugin, &options, "\"get\"", &url).await.map_err(|error| error.to_string())?;
            times.push(start.elapsed());
            if called.value.summary != "200 hello" {
                return Err(format!("the neighbour saw `{}`", called.value.summary));
            }
        }
        times.sort();
        Ok(times[(calls * 99 / 100).min(calls - 1)])
    }
}
