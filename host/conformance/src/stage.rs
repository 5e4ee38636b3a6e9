//! A host for one plugin, with the door of the kit in the network's place.

use crate::KitError;
use crate::clock::Clock;
use crate::counterpart::{Counterpart, Sent};
use crate::door::Door;
use crate::file::KitFile;
use basb_capabilities::{Capabilities, Options};
use basb_core::PluginName;
use basb_credentials::{Credentials, CredentialsConfig};
use basb_grants::HttpTarget;
use basb_redact::SecretValue;
use basb_runtime::{CacheFolder, Kind, LoadRequest, Plugin, Runtime, RuntimeOptions, inspect};
use basb_secrets::{Answer, Ask, ConfigProblem, Environment, Secrets, SecretsConfig, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// A plugin on its host.
#[derive(Debug)]
pub struct Stage {
    /// The plugin.
    pub plugin: Plugin,
    /// What it is.
    pub kind: Kind,
    /// Where its exchanges pass.
    pub door: Arc<Door>,
    /// The time.
    pub clock: Clock,
    /// Its configuration, as text.
    pub config: String,
    /// Kept as long as the plugin is.
    _runtime: Runtime,
}

/// What the host itself asks for, such as a token, is asked of the counterpart too: nothing leaves this machine.
#[derive(Debug)]
struct OwnRequests {
    counterpart: Arc<dyn Counterpart>,
    clock: Clock,
}

impl Transport for OwnRequests {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let header = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let sent = Sent {
                method: ask.method.as_str().to_owned(),
                url: ask.url.clone(),
                headers: ask.headers.iter().map(header).collect(),
                body: ask.body.to_vec(),
            };
            let answer = self.counterpart.http(&sent, self.clock.now()).await;
            let answer = answer.map_err(|e| TransportError(e.to_string()))?;
            let mut headers = HeaderMap::new();
            for (name, value) in &answer.headers {
                if let (Ok(name), Ok(value)) =
                    (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
                {
                    headers.append(name, value);
                }
            }
            Ok(Answer { status: answer.status, headers, body: Bytes::from(answer.body) })
        })
    }
}

fn problems(section: &str, wrong: Vec<ConfigProblem>) -> KitError {
    let all: Vec<String> = wrong.into_iter().map(|p| format!("{}: {} ({})", p.pointer, p.message, p.help)).collect();
    KitError::new("kit/bad-file", format!("`{section}`: {}", all.join("; ")), "its form is that of a deployment file")
}

impl Stage {
    /// Loads a plugin. `folder` is where folders that are granted to it are.
    ///
    /// # Errors
    /// [`KitError`] when it does not load: that is not the kit's to judge.
    pub async fn new(
        bytes: Vec<u8>,
        file: &KitFile,
        folder: &Path,
        counterpart: Arc<dyn Counterpart>,
        cache: Option<CacheFolder>,
    ) -> Result<Self, KitError> {
        let load = |message: String| {
            KitError::new("kit/not-loaded", message, "`basb-host plugin inspect FILE` shows what it is")
        };
        let inspection = inspect(&bytes).map_err(|e| load(e.to_string()))?;
        let kind = inspection.kind.ok_or_else(|| load("it exports no interface of basb:host".to_owned()))?;
        let name = inspection.manifest.as_ref().map_or("plugin", |manifest| manifest.name.as_str());
        let name = PluginName::new(name).map_err(|e| load(e.to_string()))?;
        let grants = file.granted()?;
        let clock = Clock::default();
        let door = Arc::new(Door::new(Arc::clone(&counterpart), clock.clone()));
        let mut options = Options::new(folder);
        options.outside = Some(Arc::clone(&door) as Arc<dyn basb_capabilities::outside::Outside>);
        for grant in &grants.http {
            if let HttpTarget::Socket { name, .. } = &grant.to {
                // Known by name and never opened: what would go there goes to the counterpart.
                options.sockets.insert(name.clone(), folder.join("no-such-socket"));
            }
        }
        let capabilities = Capabilities::new(options);
        let credentials = Self::credentials(file, folder, &capabilities, counterpart, clock.clone())?;
        let mut options = RuntimeOptions::new(capabilities);
        if let Some(cache) = cache {
            options = options.with_cache(cache);
        }
        let runtime = Runtime::new(options)
            .map_err(|e| KitError::new("kit/runtime", e.to_string(), "check the limits of this machine"))?;
        let request = LoadRequest { name, kind, grants, credentials };
        let plugin = runtime.load(bytes, request).await.map_err(|e| load(e.to_string()))?;
        let config = if file.config.is_null() { "{}".to_owned() } else { file.config.to_string() };
        Ok(Self { plugin, kind, door, clock, config, _runtime: runtime })
    }

    fn credentials(
        file: &KitFile,
        folder: &Path,
        capabilities: &Capabilities,
        counterpart: Arc<dyn Counterpart>,
        clock: Clock,
    ) -> Result<Vec<PluginName>, KitError> {
        let secrets = SecretsConfig::parse(&file.secret_stores, &file.secrets).map_err(|w| problems("secrets", w))?;
        let config = CredentialsConfig::parse(&file.credentials).map_err(|w| problems("credentials", w))?;
        let names = config.names();
        let transport: Arc<dyn Transport> = Arc::new(OwnRequests { counterpart, clock });
        let redactor = capabilities.redactor().clone();
        // Nothing of this process' own environment: a kit that reads a real key would one day send it somewhere.
        let values =
            file.environment.iter().map(|(name, value)| (name.clone(), SecretValue::new(value.as_bytes().to_vec())));
        let environment = Environment::Fixed(Arc::new(values.collect()));
        let secrets =
            Secrets::with_environment(secrets, folder.to_owned(), Arc::clone(&transport), redactor, environment);
        let secrets = Arc::new(secrets);
        capabilities.use_credentials(Arc::new(Credentials::new(config, secrets, transport)));
        Ok(names)
    }

    /// The configuration for one call, in place of the usual one.
    #[must_use]
    pub fn config_or(&self, other: &Value) -> String {
        if other.is_null() { self.config.clone() } else { other.to_string() }
    }
}
