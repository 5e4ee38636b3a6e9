//! The environment: variables of the host's own process.

use crate::config::Item;
use crate::environment::Environment;
use crate::error::{self, StoreError};
use crate::field::Raw;

pub(super) fn read(environment: &Environment, item: &Item) -> Result<Raw, StoreError> {
    let key = &item.key;
    match environment.get(key) {
        Some(value) if value.expose().is_empty() => Err(StoreError::new(
            error::EMPTY,
            format!("the variable {key} is set, but empty"),
            format!("give it a value: `export {key}=…`"),
        )),
        Some(value) => Ok(Raw::Value(value)),
        None => Err(StoreError::new(
            error::MISSING,
            format!("the variable {key} is not set"),
            format!("set it where basb-host is started: `export {key}=…`"),
        )),
    }
}
