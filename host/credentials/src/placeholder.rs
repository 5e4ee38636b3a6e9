//! The text that stands for a secret until the door: `${secret.NAME}` in a deployment file becomes it, plugins pass it
//! on, and the host puts the value in its place on the way out.

use basb_redact::SecretName;

/// The placeholder of a secret. Made of characters that URLs, forms and JSON leave as they are.
#[must_use]
pub fn of(name: &SecretName) -> String {
    format!("__basb.secret.{name}__")
}
