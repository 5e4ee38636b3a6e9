//! Who may load: what a plugin imports must be in its world, asked for in its manifest, and granted by the operator.

use crate::cache::{self, CacheFolder, EngineId};
use crate::call::{Function, Shared};
use crate::compiler::{CompileError, Compiler, Compilers};
use crate::error::Failure;
use crate::guests::Reaches;
use crate::host::State;
use crate::limits::CallLimits;
use crate::link::{LinkSet, Linkers, Needs};
use crate::ticker::Ticker;
use crate::wasi::{Argument, Moment};
use crate::{InspectError, Inspection, Kind, Manifest, PoolSize, engine, inspect, printable_list};
use basb_capabilities::{Capabilities, Capability, Grants, grant_lines, printable};
use basb_core::{Digest, PluginName};
use std::sync::Arc;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Precompiled};

/// How a host is set up.
#[derive(Debug)]
pub struct RuntimeOptions {
    /// How many instances can be alive at once.
    pub pool: PoolSize,
    /// Where compiled code is kept; without a folder every plugin is compiled at each start.
    pub cache: Option<CacheFolder>,
    /// What plugins may ask for.
    pub capabilities: Capabilities,
    /// The limits of each call.
    pub limits: CallLimits,
    /// The largest plugin, in bytes.
    pub largest: usize,
    /// Who compiles: a child process, always.
    pub compiler: Compiler,
}

impl RuntimeOptions {
    /// A small pool, no cache, the default limits; this program compiles, so its `main` must begin with
    /// [`crate::compiler::serve_if_asked`].
    #[must_use]
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            pool: PoolSize::SMALL,
            cache: None,
            capabilities,
            limits: CallLimits::default(),
            largest: 32 << 20,
            compiler: Compiler::this_program(),
        }
    }

    /// The same with another compiler.
    #[must_use]
    pub fn with_compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// The same with other limits of each call.
    #[must_use]
    pub fn with_limits(mut self, limits: CallLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with a cache.
    #[must_use]
    pub fn with_cache(mut self, cache: CacheFolder) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The same with another pool.
    #[must_use]
    pub fn with_pool(mut self, pool: PoolSize) -> Self {
        self.pool = pool;
        self
    }
}

/// Why a host cannot run plugins.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime cannot be set up.
    #[error("WebAssembly cannot be run on this machine: {0:#}")]
    Engine(wasmtime::Error),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl RuntimeError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "host/runtime"
    }
}

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The plugin's name in the deployment file.
    pub name: PluginName,
    /// What it is used as.
    pub kind: Kind,
    /// What the operator granted.
    pub grants: Grants,
    /// The credentials that the host may add to its requests.
    pub credentials: Vec<basb_core::PluginName>,
}

/// Why a plugin does not load. The text says everything that is missing, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{plugin}` ({}) does not load: {why}", digest.short())]
pub struct LoadError {
    /// Its name in the deployment file.
    pub plugin: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Why.
    pub why: Refused,
}

/// Why a plugin does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The file is no component.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// It is too large.
    #[error("it has {size} bytes and may have {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It has no manifest.
    #[error(
        "it has no manifest, so nobody knows what it asks for; build it with the SDK, or add the custom section `basb-host:manifest`"
    )]
    NoManifest,
    /// It implements another world.
    #[error("it is used as a {expected}, which exports `basb:host/{expected}@0.1.0`, but it exports {exports}{hint}")]
    WrongWorld {
        /// What it is used as.
        expected: Kind,
        /// What it exports.
        exports: String,
        /// What it could be used as.
        hint: String,
    },
    /// Its manifest says that it is something else.
    #[error("its manifest says that it is a {manifest}, but it exports `basb:host/{exports}`")]
    ManifestKind {
        /// What the manifest says.
        manifest: Kind,
        /// What it is.
        exports: Kind,
    },
    /// It imports what no plugin of its kind can have.
    #[error("it imports {imports}, which {what}")]
    Foreign {
        /// What it imports.
        imports: String,
        /// Why it cannot have it.
        what: String,
    },
    /// It imports what its manifest does not ask for.
    #[error(
        "it imports {0}, which its manifest does not ask for: an error of its publisher, who has to give a reason for each"
    )]
    NotRequested(String),
    /// It imports what was not granted.
    #[error(
        "it needs {needs}, which is not granted; if it should have that, write in the deployment file (and narrow it):\n{lines}"
    )]
    NotGranted {
        /// Everything that is missing, with the plugin's reasons.
        needs: String,
        /// The lines to add.
        lines: String,
    },
    /// It cannot be compiled.
    #[error("it cannot be compiled: {0}")]
    Compile(#[from] CompileError),
    /// It asks for larger memories or tables, or more of them, or more instances, than a plugin may have.
    #[error("it asks for more than a plugin may have: {0}")]
    Demands(String),
    /// Its functions have other types than its world says.
    #[error("its functions do not fit basb:host 0.1: {0}; build it with the current SDK")]
    Interface(String),
    /// Its initialisation fails.
    #[error("it {0} while it was being started")]
    Start(Failure),
    /// The thread that compiled it is gone.
    #[error("it could not be loaded: {0}")]
    Host(String),
}

impl LoadError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.why {
            Refused::Inspect(error) => error.code(),
            Refused::TooLarge { .. } => "plugin/too-large",
            Refused::NoManifest => "plugin/no-manifest",
            Refused::WrongWorld { .. } => "plugin/wrong-world",
            Refused::ManifestKind { .. } => "plugin/manifest",
            Refused::Foreign { .. } => "plugin/foreign-import",
            Refused::NotRequested(_) => "plugin/not-requested",
            Refused::NotGranted { .. } => "plugin/not-granted",
            Refused::Compile(error) => error.code(),
            Refused::Demands(_) => "plugin/demands",
            Refused::Interface(_) => "plugin/interface",
            Refused::Start(failure) => failure.code(),
            Refused::Host(_) => "host/load",
        }
    }
}

/// A host for plugins. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    linkers: Linkers,
    cache: Option<CacheFolder>,
    engine_id: EngineId,
    largest: usize,
    compilers: Compilers,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Sets up a host.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let RuntimeOptions { pool, cache, capabilities, limits, largest, compiler } = options;
        let engine = engine::engine(pool).map_err(RuntimeError::Engine)?;
        let shared = Shared {
            ticker: Ticker::start(&engine)?,
            guests: Arc::default(),
            capabilities,
            limits,
            slots: Arc::new(Semaphore::new(pool.count() as usize)),
            engine,
        };
        let engine_id = EngineId::of(&shared.engine);
        let inner = Inner {
            linkers: Linkers::default(),
            cache,
            engine_id,
            largest,
            compilers: Compilers::new(compiler),
            shared: Arc::new(shared),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What plugins may ask for.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.shared.capabilities
    }

    /// Loads a plugin on a thread that may block: a first load compiles, which takes from milliseconds to seconds.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        request: LoadRequest,
    ) -> Result<Plugin, LoadError> {
        let runtime = self.clone();
        let name = request.name.to_string();
        let loaded = tokio::task::spawn_blocking(move || runtime.load_blocking(bytes.as_ref(), request)).await;
        loaded.unwrap_or_else(|error| {
            Err(LoadError { plugin: name, digest: Digest::of(&[]), why: Refused::Host(error.to_string()) })
        })
    }

    /// Loads a plugin on this thread.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load_blocking(&self, bytes: &[u8], request: LoadRequest) -> Result<Plugin, LoadError> {
        let digest = Digest::of(bytes);
        let name = request.name.to_string();
        self.load_known(bytes, digest.clone(), request).map_err(|why| LoadError { plugin: name, digest, why })
    }

    fn load_known(&self, bytes: &[u8], digest: Digest, request: LoadRequest) -> Result<Plugin, Refused> {
        let inner = &self.inner;
        if bytes.len() > inner.largest {
            return Err(Refused::TooLarge { size: bytes.len(), limit: inner.largest });
        }
        let engine = &inner.shared.engine;
        let cached = inner.cache.as_ref().and_then(|cache| cache.get(engine, &inner.engine_id, &digest));
        // What is not allowed is not compiled either.
        let (inspection, component) = match cached {
            Some(entry) => (entry.inspection, Some(entry.component)),
            None => (inspect(bytes)?, None),
        };
        let (manifest, set) = admit(&inspection, &request)?;
        let component = match component {
            Some(component) => component,
            None => self.compile(bytes, &digest, &inspection)?,
        };
        let linker = inner.linkers.get(engine, set).map_err(|error| Refused::Host(format!("{error:#}")))?;
        let pre = linker.instantiate_pre(&component).map_err(|error| Refused::Interface(format!("{error:#}")))?;
        let functions = functions(&pre, request.kind)?;
        let plugin = Plugin {
            inner: Arc::new(Loaded {
                name: request.name.as_str().into(),
                digest: Arc::new(digest),
                kind: request.kind,
                uses_wasi: if set.holds(Needs::Inert) { UsesWasi::Yes } else { UsesWasi::No },
                reaches: if set.is_empty() { Reaches::Nothing } else { Reaches::TheHost },
                grants: Arc::new(request.grants),
                credentials: request.credentials.into(),
                manifest,
                inspection,
                functions,
                pre,
                shared: Arc::clone(&inner.shared),
            }),
        };
        match plugin.try_out() {
            Ok(()) => Ok(plugin),
            Err(Failure::Interface(what)) => Err(Refused::Interface(what)),
            Err(failure) => Err(Refused::Start(failure)),
        }
    }

    fn compile(&self, bytes: &[u8], digest: &Digest, inspection: &Inspection) -> Result<Component, Refused> {
        let inner = &self.inner;
        let engine = &inner.shared.engine;
        let code = inner.compilers.compile(bytes)?;
        let component = cache::deserialize(engine, &code).map_err(|error| {
            let why = printable(&format!("{:#}", error.root_cause()), 300);
            // Real code that cannot be taken over does not fit into the pool.
            match Engine::detect_precompiled(&code) {
                Some(Precompiled::Component) => Refused::Demands(why),
                _ => Refused::Host(format!("the compiler's answer is no code: {why}")),
            }
        })?;
        if let Some(cache) = &inner.cache {
            cache.put(&inner.engine_id, digest, inspection, &code);
        }
        Ok(component)
    }
}

/// Imports ∩ manifest ∩ grants, or everything that is wrong with them.
fn admit(inspection: &Inspection, request: &LoadRequest) -> Result<(Manifest, LinkSet), Refused> {
    let Some(kind) = inspection.kind.filter(|kind| *kind == request.kind) else {
        let hint = inspection.kind.map_or_else(String::new, |kind| format!("; it can be used as a {kind}"));
        return Err(Refused::WrongWorld { expected: request.kind, exports: inspection.exports_shown(), hint });
    };
    let manifest = inspection.manifest.clone().ok_or(Refused::NoManifest)?;
    if manifest.kind != kind {
        return Err(Refused::ManifestKind { manifest: manifest.kind, exports: kind });
    }
    let foreign: Vec<String> = inspection.foreign().map(|import| import.name.clone()).collect();
    if !foreign.is_empty() {
        let what = if foreign.iter().all(|name| name.starts_with("wasi:")) {
            "this version of basb-host does not offer; it offers WASI 0.2 (cli, clocks, io, random, http), or build it for \
             wasm32-unknown-unknown"
                .to_owned()
        } else {
            "this host does not know".to_owned()
        };
        return Err(Refused::Foreign { imports: printable_list(&foreign), what });
    }
    let imported = inspection.capabilities();
    let by_what = |wanted: &dyn Fn(Capability) -> bool| -> Vec<String> {
        let imports = inspection.imports.iter().filter(|import| import.capability().is_some_and(wanted));
        imports.map(|import| import.name.clone()).collect()
    };
    let beyond = by_what(&|capability| !kind.may_import().contains(&capability));
    if !beyond.is_empty() {
        return Err(Refused::Foreign { imports: printable_list(&beyond), what: format!("no {kind} can have") });
    }
    let unasked = by_what(&|capability| !manifest.requests(capability));
    if !unasked.is_empty() {
        return Err(Refused::NotRequested(printable_list(&unasked)));
    }
    let missing: Vec<Capability> = imported.iter().copied().filter(|c| !request.grants.covers(*c)).collect();
    if !missing.is_empty() {
        return Err(not_granted(&missing, &manifest, request));
    }
    let inert = inspection.inert().next().map(|_| Needs::Inert);
    Ok((manifest, imported.into_iter().map(Needs::Grant).chain(inert).collect()))
}

fn not_granted(missing: &[Capability], manifest: &Manifest, request: &LoadRequest) -> Refused {
    let reason = |capability: &Capability| {
        let reason = manifest.capabilities.iter().find(|requested| requested.name == *capability);
        reason.map_or_else(String::new, |r| format!(" ({})", printable(&r.reason, 200)))
    };
    let needs: Vec<_> = missing.iter().map(|capability| format!("`{capability}`{}", reason(capability))).collect();
    let lines: Vec<_> = missing.iter().map(|capability| example(*capability, request.kind)).collect();
    Refused::NotGranted { needs: needs.join(", "), lines: grant_lines(request.name.as_str(), &lines.join("\n")) }
}

/// The lines that would grant a capability. What a probe wants is nearly always the service that it is pointed at.
fn example(capability: Capability, kind: Kind) -> &'static str {
    match (kind, capability) {
        (Kind::Probe, Capability::Http) => "http:\n  - target: service\n    methods: [GET, POST]\n    path: /**",
        (Kind::Probe, Capability::Tcp) => "tcp:\n  - target: service",
        (_, capability) => capability.example(),
    }
}

/// Looks the functions of a world up once.
fn functions(pre: &InstancePre<State>, kind: Kind) -> Result<Vec<Function>, Refused> {
    let component = pre.component();
    let interface = format!("{}{kind}@0.1.0", basb_inspect::PACKAGE);
    let missing = |what: &str| Refused::Interface(format!("`{what}` is missing"));
    let instance = component.get_export_index(None, &interface).ok_or_else(|| missing(&interface))?;
    let names = crate::worlds::functions(kind);
    names
        .iter()
        .map(|name| {
            let index = component.get_export_index(Some(&instance), name).ok_or_else(|| missing(name))?;
            Ok(Function { name, index })
        })
        .collect()
}

/// A plugin that is ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Loaded>,
}

struct Loaded {
    name: Arc<str>,
    digest: Arc<Digest>,
    kind: Kind,
    reaches: Reaches,
    uses_wasi: UsesWasi,
    grants: Arc<Grants>,
    credentials: Arc<[basb_core::PluginName]>,
    manifest: Manifest,
    inspection: Inspection,
    functions: Vec<Function>,
    pre: InstancePre<State>,
    shared: Arc<Shared>,
}

/// Whether a plugin sees a clock and dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UsesWasi {
    No,
    Yes,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.inner.name)
            .field("digest", &self.inner.digest)
            .field("kind", &self.inner.kind)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Its name in the deployment file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// What its bytes say.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inner.inspection
    }

    /// What it was granted.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.inner.grants
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.inner.name)
    }

    pub(crate) fn shared_digest(&self) -> Arc<Digest> {
        Arc::clone(&self.inner.digest)
    }

    pub(crate) fn shared_grants(&self) -> Arc<Grants> {
        Arc::clone(&self.inner.grants)
    }

    pub(crate) fn shared_credentials(&self) -> Arc<[basb_core::PluginName]> {
        Arc::clone(&self.inner.credentials)
    }

    pub(crate) fn reaches(&self) -> Reaches {
        self.inner.reaches
    }

    /// What a call is to a plugin that looks at the clock or throws dice. Others are not made to wait for it.
    pub(crate) fn moment(&self, function: usize, arguments: &[&dyn Argument]) -> Moment {
        match (self.inner.uses_wasi, self.function(function)) {
            (UsesWasi::Yes, Some(function)) => Moment::of(self.digest(), function.name, arguments),
            _ => Moment::START,
        }
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.inner.pre
    }

    pub(crate) fn functions(&self) -> &[Function] {
        &self.inner.functions
    }

    pub(crate) fn function(&self, index: usize) -> Option<&Function> {
        self.inner.functions.get(index)
    }
}
