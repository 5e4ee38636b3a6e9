//! Generators: render documents from the model. Pure functions; the host writes the files.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

pub use crate::bindings::pure::exports::basb::host::generator::{Document, Info};

/// Renders documents from the model.
pub trait Generator {
    /// The configuration; the host has checked it against the schema in the manifest.
    type Config: DeserializeOwned;

    /// What the generator makes.
    fn describe() -> Info;

    /// Renders everything.
    ///
    /// # Errors
    /// Where the model holds what cannot be rendered.
    fn generate(config: &Self::Config, model: &Value) -> Result<Vec<Document>, Failure>;
}

impl Document {
    /// A text document.
    pub fn text(path: impl Into<String>, media_type: impl Into<String>, contents: impl Into<String>) -> Document {
        Document { path: path.into(), media_type: media_type.into(), contents: contents.into().into_bytes() }
    }
}
