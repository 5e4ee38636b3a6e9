//! Between the types of the model and SQLite's columns.

use crate::JournalError;
use basb_core::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Error, Row};

/// A time or count as SQLite's signed integer.
pub(crate) fn to_column(what: &'static str, value: u64) -> Result<i64, JournalError> {
    i64::try_from(value).map_err(|_| JournalError::OutOfRange { what })
}

/// An unsigned integer of a row.
pub(crate) fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(index, value))
}

/// A point in time of a row.
pub(crate) fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    unsigned(row, index).map(Timestamp)
}

/// A point in time of a row, if there is one.
pub(crate) fn time_if_any(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Timestamp>> {
    let value: Option<i64> = row.get(index)?;
    value.map(|_| time(row, index)).transpose()
}

/// A checked name of a row: one that breaks its rules was not written by this crate.
pub(crate) fn name<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
where
    T: TryFrom<String>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    T::try_from(row.get(index)?).map_err(|error| Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}

/// A checked name of a row, if there is one.
pub(crate) fn name_if_any<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>>
where
    T: TryFrom<String>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let value: Option<String> = row.get(index)?;
    value.map(|_| name(row, index)).transpose()
}
