//! `world generator-plugin`: renders documents from the model; pure.

use crate::wit::generator::{Document, Info};
use crate::wit::types::Failure;

super::world! {
    /// A generator.
    Generator, Generator, generator;
    /// What the generator makes.
    "describe" 0 pub fn describe() -> Info;
    /// Renders everything; the host writes the files.
    "generate" 1 pub fn generate(config: String, model: String) -> Result<Vec<Document>, Failure>;
}
