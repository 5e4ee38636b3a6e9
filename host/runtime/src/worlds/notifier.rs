//! `world notifier-plugin`: delivers events, at least once.

use crate::wit::notifier::{Event, Info, Receipt};
use crate::wit::types::{CallContext, Failure};

super::world! {
    /// A notifier.
    Notifier, Notifier, notifier;
    /// What the notifier does. Makes no request.
    "describe" 0 pub fn describe() -> Info;
    /// Delivers one event.
    "notify" 1 pub fn notify(cx: CallContext, event: Event) -> Result<Receipt, Failure>;
}
