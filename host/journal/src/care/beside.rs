//! What lies in a back-up beside the journal: files that belong to whoever makes the back-up, in a table that no journal has.

use crate::JournalError;
use rusqlite::{Connection, params};
use std::path::Path;

/// A file that lies beside the journal in a back-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its name, which tells whoever put it there what it is.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Puts files into a copy of a journal.
pub(super) fn put(copy: &Path, all: &[Beside]) -> Result<(), JournalError> {
    let write = || -> rusqlite::Result<()> {
        let mut connection = Connection::open(copy)?;
        let transaction = connection.transaction()?;
        transaction
            .execute_batch("CREATE TABLE beside (name TEXT NOT NULL PRIMARY KEY, bytes BLOB NOT NULL) STRICT")?;
        for one in all {
            transaction.execute("INSERT INTO beside (name, bytes) VALUES (?1, ?2)", params![one.name, one.bytes])?;
        }
        transaction.commit()
    };
    write().map_err(|e| JournalError::from_sqlite(copy, &e))
}

/// Takes the files out of a copy of a back-up, which is a journal like any other then. One that was made before there were
/// any holds none.
pub(super) fn take(copy: &Path) -> Result<Vec<Beside>, JournalError> {
    let read = || -> rusqlite::Result<Vec<Beside>> {
        let connection = Connection::open(copy)?;
        if !connection.table_exists(None, "beside")? {
            return Ok(Vec::new());
        }
        let all = {
            let mut statement = connection.prepare("SELECT name, bytes FROM beside ORDER BY name")?;
            let found = statement.query_map([], |r| Ok(Beside { name: r.get(0)?, bytes: r.get(1)? }))?;
            found.collect::<rusqlite::Result<_>>()?
        };
        // The room that they took is used by the next records: to give it back would be to write the whole journal again.
        connection.execute_batch("DROP TABLE beside")?;
        Ok(all)
    };
    read().map_err(|e| JournalError::from_sqlite(copy, &e))
}
