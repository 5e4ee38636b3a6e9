//! Secrets by name: read once from their store, kept in memory, taught to the redactor.

use crate::config::{Item, StoreName};
use crate::environment::Environment;
use crate::error::{self, SecretError, StoreError};
use crate::field::inner_secrets;
use crate::own::Own;
use crate::reading::suggest;
use crate::store::Store;
use crate::{SecretsConfig, Transport};
use basb_redact::{Redactor, SecretName, SecretValue};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// How many secrets are read at once.
const AT_ONCE: usize = 8;

/// The secrets of a deployment. Cheap to clone: what one of the clones has read, all have.
#[derive(Clone)]
pub struct Secrets {
    sources: Arc<Sources>,
    slots: Arc<Mutex<BTreeMap<SecretName, Slot>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("names", &self.sources.items.keys()).finish_non_exhaustive()
    }
}

/// A read that several callers wait for.
type Reading = Shared<BoxFuture<'static, Result<SecretValue, SecretError>>>;

/// One secret, as far as it is known.
enum Slot {
    Reading(Reading),
    Known(SecretValue),
}

/// The stores, and what is in which of them. Apart from the slots, so that a read in a slot does not hold the slots.
struct Sources {
    items: BTreeMap<SecretName, Item>,
    stores: BTreeMap<StoreName, Store>,
    redactor: Redactor,
    turns: Semaphore,
}

impl Secrets {
    /// Sets the stores up. Reads nothing yet. Relative paths start from `base`.
    #[must_use]
    pub fn new(config: SecretsConfig, base: PathBuf, transport: Arc<dyn Transport>, redactor: Redactor) -> Self {
        Self::with_environment(config, base, transport, redactor, Environment::Process)
    }

    /// As [`Self::new`], with variables from elsewhere than the environment of this process.
    #[must_use]
    pub fn with_environment(
        config: SecretsConfig,
        base: PathBuf,
        transport: Arc<dyn Transport>,
        redactor: Redactor,
        environment: Environment,
    ) -> Self {
        let SecretsConfig { stores, secrets } = config;
        let own = |name: &StoreName| Own {
            name: name.clone(),
            base: base.clone(),
            environment: environment.clone(),
            transport: transport.clone(),
            redactor: redactor.clone(),
        };
        let mut made: BTreeMap<_, _> =
            stores.into_iter().map(|(name, config)| (name.clone(), Store::new(config, own(&name)))).collect();
        for item in secrets.values().filter(|item| item.store.as_str() == "env") {
            made.entry(item.store.clone()).or_insert_with(|| Store::environment(environment.clone()));
        }
        let sources = Sources { items: secrets, stores: made, redactor, turns: Semaphore::new(AT_ONCE) };
        Self { sources: Arc::new(sources), slots: Arc::default() }
    }

    /// The value of a secret; read from its store the first time. The redactor knows it before anybody else does.
    ///
    /// Who asks while it is being read waits for the same read. An error is not kept: the next to ask has it read again.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn get(&self, name: &SecretName) -> Result<SecretValue, SecretError> {
        let reading = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            match slots.get(name) {
                Some(Slot::Known(value)) => return Ok(value.clone()),
                Some(Slot::Reading(reading)) => reading.clone(),
                None => {
                    let (sources, wanted) = (self.sources.clone(), name.clone());
                    let reading = async move { sources.read(&wanted).await }.boxed().shared();
                    slots.insert(name.clone(), Slot::Reading(reading.clone()));
                    reading
                }
            }
        };
        let result = reading.clone().await;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot::Reading(current)) = slots.get(name)
            && current.ptr_eq(&reading)
        {
            match &result {
                Ok(value) => slots.insert(name.clone(), Slot::Known(value.clone())),
                Err(_) => slots.remove(name),
            };
        }
        result
    }

    /// The redactor that learns every secret, so that what is made from secrets can be taught to it too.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.sources.redactor
    }

    /// Reads all of these, several at once.
    ///
    /// # Errors
    /// Everything that is missing, each once.
    pub async fn get_all(&self, names: &[SecretName]) -> Result<(), Vec<SecretError>> {
        let names: BTreeSet<&SecretName> = names.iter().collect();
        let results = join_all(names.into_iter().map(|name| self.get(name))).await;
        let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl Sources {
    async fn read(&self, name: &SecretName) -> Result<SecretValue, SecretError> {
        let named =
            |e: StoreError| SecretError { name: name.to_string(), code: e.code, message: e.message, help: e.help };
        let (item, store) = self.place(name).map_err(named)?;
        // Closed never: nobody but this holds it.
        let _turn = self.turns.acquire().await.ok();
        let what = format!("`{}` in store `{}`", item.key, item.store);
        let raw = store.read(item, &what).await.map_err(named)?;
        let value = raw.pick(item.field.as_deref(), &what).map_err(named)?;
        self.teach(name, &value).map_err(named)?;
        Ok(value)
    }

    fn place(&self, name: &SecretName) -> Result<(&Item, &Store), StoreError> {
        let Some(item) = self.items.get(name) else {
            let known: Vec<&str> = self.items.keys().map(SecretName::as_str).collect();
            let help = suggest(name.as_str(), &known).map_or_else(
                || format!("add to `secrets`: `{name}: {{store: env, key: NAME_OF_A_VARIABLE}}`"),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(StoreError::new(error::UNKNOWN, "there is no such secret in the deployment file", help));
        };
        let store = self.stores.get(&item.store).ok_or_else(|| {
            StoreError::new(error::UNKNOWN, format!("there is no store `{}`", item.store), "add it to `secretStores`")
        })?;
        Ok((item, store))
    }

    fn teach(&self, name: &SecretName, value: &SecretValue) -> Result<(), StoreError> {
        self.redactor.learn(name, value).map_err(|e| {
            StoreError::new(
                error::TOO_SHORT,
                format!("it cannot be kept out of logs: {e}"),
                "choose a longer one; what stands in every text cannot be kept out of any",
            )
        })?;
        // Those that are too short stay known as parts of the whole only.
        let inner = inner_secrets(value).into_iter().map(|inner| (name.clone(), inner));
        if self.redactor.learn_all(inner).is_err() {
            tracing::debug!(secret = %name, "a field of this secret is too short to be found on its own");
        }
        Ok(())
    }
}
