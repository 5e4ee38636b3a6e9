//! The file's format: one migration per version, each applied once, in order, in one transaction with the version number.

use rusqlite::Connection;

/// `BASB` in ASCII, SQLite's `application_id`: tells a journal from any other SQLite file.
pub(crate) const APPLICATION_ID: i64 = 0x4241_5342;

/// The migration to each version. A released one is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
    include_str!("schema-6.sql"),
];

/// The newest format, which is the one written.
pub const SCHEMA_VERSION: i64 = 6;

/// The format of an open file; 0 for one that was just made.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings the file to the newest format. The caller has checked that it is not newer.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = version(&transaction)?;
    for (number, migration) in (1..).zip(MIGRATIONS) {
        if number > done {
            transaction.execute_batch(migration)?;
            // Pragmas take no parameters; the number is ours.
            transaction.execute_batch(&format!("PRAGMA user_version = {number}"))?;
        }
    }
    transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
    transaction.commit()
}

#[cfg(test)]
#[test]
fn the_version_is_the_number_of_migrations() {
    assert_eq!(i64::try_from(MIGRATIONS.len()).unwrap(), SCHEMA_VERSION);
}
