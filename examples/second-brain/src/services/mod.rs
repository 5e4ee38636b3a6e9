//! The four MCP services: what they share.

mod capture;
mod distill;
mod express;
mod organize;

use std::{num::NonZeroU64, sync::Arc};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{
        router::tool::ToolRouter,
        tool::{IntoCallToolResult, ToolCallContext},
        wrapper::Json,
    },
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    release::{Defect, Release},
    vault::{Counts, Folder, Note, NoteId, Vault, VaultError, path_of},
};

/// Entries returned when a caller gives no limit.
const DEFAULT_LIMIT: u32 = 20;
/// Most entries returned by one call.
const MAX_LIMIT: u32 = 200;

/// Which of the four services a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Kind {
    /// Takes notes in.
    Capture,
    /// Files them.
    Organize,
    /// Summarises them.
    Distill,
    /// Makes drafts of them.
    Express,
}

impl Kind {
    /// The service's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Organize => "organize",
            Self::Distill => "distill",
            Self::Express => "express",
        }
    }

    const fn instructions(self) -> &'static str {
        match self {
            Self::Capture => "Takes notes into the vault's Inbox. The organize service files them.",
            Self::Organize => {
                "Files notes by the PARA method: Projects have an end, Areas are responsibilities, \
                 Resources are interests, Archives are inactive."
            }
            Self::Distill => "Makes notes shorter step by step: highlight what matters, then write the digest.",
            Self::Express => "Assembles notes into a draft under Express.",
        }
    }

    fn tools(self) -> ToolRouter<Brain> {
        let own = match self {
            Self::Capture => Brain::capture_tools(),
            Self::Organize => Brain::organize_tools(),
            Self::Distill => Brain::distill_tools(),
            Self::Express => Brain::express_tools(),
        };
        own + Brain::shared_tools()
    }
}

/// One service. Cheap to clone: rmcp takes one per request.
#[derive(Clone)]
pub struct Brain(Arc<Inner>);

struct Inner {
    kind: Kind,
    release: Release,
    vault: Arc<Vault>,
    defect: Defect,
    tools: ToolRouter<Brain>,
    info: ServerConfig,
}

impl Brain {
    /// Makes a service of a vault.
    pub fn new(kind: Kind, release: Release, vault: Vault, fail_every: NonZeroU64) -> Self {
        let mut tools = kind.tools();
        for tool in tools.list_all() {
            if !release.has_tool(&tool.name) {
                tools.remove_route(&tool.name);
            }
        }
        let info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                format!("second-brain-{}", kind.name()),
                format!("{}.0.0", release.number()),
            ))
            .with_instructions(kind.instructions());
        Self(Arc::new(Inner { kind, release, vault: Arc::new(vault), defect: release.defect(fail_every), tools, info }))
    }

    /// What `/healthz` says about the service.
    pub fn identity(&self) -> Identity {
        Identity { service: self.0.kind, release: self.0.release.number() }
    }

    /// Whether the vault can be reached.
    pub fn check(&self) -> Result<(), VaultError> {
        self.0.vault.check()
    }

    /// Runs a vault operation where it may block.
    async fn with_vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<Json<T>, VaultError> {
        let vault = Arc::clone(&self.0.vault);
        tokio::task::spawn_blocking(move || work(&vault))
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a vault operation was cut off");
                Err(VaultError::CutOff)
            })
            .map(Json)
    }
}

/// Which service of which release answers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Identity {
    /// The service.
    pub service: Kind,
    /// Its release.
    pub release: u8,
}

/// The answer of `vault_stats`.
#[derive(Debug, Serialize, JsonSchema)]
struct VaultStats {
    /// The service that answered.
    service: Kind,
    /// Its release.
    release: u8,
    /// Notes per folder.
    counts: Counts,
    /// All notes and drafts.
    total: usize,
}

#[tool_router(router = shared_tools)]
impl Brain {
    /// Count the vault's notes per folder, and say which release answers. Changes nothing.
    #[tool(annotations(
        title = "Vault statistics",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn vault_stats(&self) -> Result<Json<VaultStats>, VaultError> {
        // The usual case is six `stat` calls: cheaper than a trip to another thread.
        let counts = match self.0.vault.known_counts() {
            Some(counts) => counts,
            None => self.with_vault(Vault::counts).await?.0,
        };
        Ok(Json(VaultStats { service: self.0.kind, release: self.0.release.number(), counts, total: counts.total() }))
    }
}

impl ServerHandler for Brain {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.defect.strike(&request.name)?;
        if !self.0.tools.has_route(&request.name) {
            let names: Vec<_> = self.0.tools.list_all().into_iter().map(|t| t.name).collect();
            return Err(ErrorData::invalid_params(
                format!(
                    "{} release {} has no tool `{}`; it has {}",
                    self.0.kind.name(),
                    self.0.release.number(),
                    crate::vault::shorten(&request.name),
                    names.join(", ")
                ),
                None,
            ));
        }
        let context = ToolCallContext::new(self, request, context);
        self.0.tools.call(context).await
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.0.tools.list_all()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.0.tools.get(name).cloned()
    }

    fn get_info(&self) -> ServerConfig {
        self.0.info.clone()
    }
}

/// A failed operation is a tool result with `isError`: the caller reads it and can act on it.
impl IntoCallToolResult for VaultError {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        if matches!(self, Self::Io { .. } | Self::CutOff) {
            tracing::error!(error = %self, "a tool call failed");
        }
        Ok(CallToolResult::error(vec![ContentBlock::text(self.to_string())]).into())
    }
}

/// A note in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Listed {
    /// The name to use in other calls and in wiki links.
    note: NoteId,
    /// Where it is in the vault.
    path: String,
    /// Its title.
    title: String,
    /// When it was made, as written in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Its tags.
    tags: Vec<String>,
}

impl Listed {
    fn new(note: &Note) -> Self {
        let meta = note.document.meta();
        Self {
            note: note.id.clone(),
            path: note.path(),
            title: meta.title.unwrap_or_else(|| note.id.to_string()),
            created: meta.created,
            tags: meta.tags,
        }
    }

    /// For a note that is in the folder but cannot be read.
    fn unreadable(folder: Folder, id: &NoteId) -> Self {
        Self { note: id.clone(), path: path_of(folder, id), title: id.to_string(), created: None, tags: Vec::new() }
    }
}

/// A list of notes.
#[derive(Debug, Serialize, JsonSchema)]
struct Listing {
    /// The notes, newest first in each folder.
    notes: Vec<Listed>,
    /// How many there are in all.
    total: usize,
}

/// Lists one folder.
fn list_folder(vault: &Vault, folder: Folder, limit: u32) -> Result<Listing, VaultError> {
    let ids = vault.list(folder)?;
    let mut notes = Vec::new();
    for id in ids.iter().take(limit as usize) {
        match vault.read_in(folder, id) {
            Ok(note) => notes.push(Listed::new(&note)),
            // Moved away since the folder was listed.
            Err(VaultError::NoSuchNote(_)) => {}
            Err(_) => notes.push(Listed::unreadable(folder, id)),
        }
    }
    Ok(Listing { notes, total: ids.len() })
}

/// The limit to use: the default when none is given, an error when it is out of range.
fn limit(given: Option<u32>) -> Result<u32, VaultError> {
    match given {
        None => Ok(DEFAULT_LIMIT),
        Some(n @ 1..=MAX_LIMIT) => Ok(n),
        Some(n) => Err(VaultError::BadLimit { got: n, limit: MAX_LIMIT }),
    }
}
