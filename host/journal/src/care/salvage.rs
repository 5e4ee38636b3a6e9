//! Reads what can be read of a damaged database, and keeps what its hashes prove.

use crate::append::{self, Finish, NewEntry};
use crate::chain::{self, Hash};
use crate::error::WorkError;
use crate::{Append, row};
use basb_core::RunId;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

/// How a run that lost records is ended: in the engine's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its last records.
    pub entries: Vec<NewEntry>,
    /// Its end.
    pub finish: Finish,
}

/// What was saved of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRun {
    /// The run.
    pub run: RunId,
    /// How many of its records were saved.
    pub saved: u64,
    /// How many it had, as far as that can be told.
    pub had: u64,
    /// Whether it was closed because it lost records.
    pub closed: bool,
}

/// Everything that was saved.
pub(super) struct Saved {
    pub(super) runs: Vec<SavedRun>,
    pub(super) lost: Vec<String>,
}

/// A run as it lies in the damaged file.
struct Stored {
    run: String,
    deployment: String,
    environment: String,
    started_at: u64,
    body: String,
    root: Hash,
    head_seq: u64,
    head_hash: Hash,
    finish: Option<(u64, String, String, Hash, u64)>,
}

/// An entry whose hash was proved.
struct Proved {
    seq: u64,
    at: u64,
    service: Option<String>,
    kind: String,
    body: String,
    hash: Hash,
}

pub(super) fn salvage(
    source: &Connection,
    target: &mut Connection,
    close: &dyn Fn(&RunId) -> Closing,
) -> Result<Saved, WorkError> {
    let transaction = target.transaction()?;
    let mut saved = Saved { runs: Vec::new(), lost: Vec::new() };
    let mut found: Vec<Stored> = Vec::new();
    // The format before 2 had no number of the finish: it was behind the last record.
    let seq = if has_column(source, "runs", "finish_seq") { "finish_seq" } else { "head_seq" };
    let columns = format!(
        "run, deployment, environment, started_at, body, root, head_seq, head_hash, finished_at, outcome, result, \
         finish_hash, {seq}"
    );
    let read = each_row(source, "runs", &columns, |r| {
        found.push(stored(r)?);
        Ok(())
    });
    if let Some(why) = read.trouble {
        saved.lost.push(format!("some of the list of runs cannot be read: {why}"));
    }
    found.sort_by(|a, b| (a.started_at, &a.run).cmp(&(b.started_at, &b.run)));
    for stored in &found {
        keep_run(source, &transaction, stored, close, &mut saved)?;
    }
    for table in tables(&transaction)? {
        keep_table(source, &transaction, &table, &mut saved)?;
    }
    // Whoever held a lease does not any more; the numbers of the tokens go on.
    transaction.execute("UPDATE leases SET owner = NULL", [])?;
    transaction
        .execute("DELETE FROM requests WHERE run IN (SELECT run FROM runs WHERE finished_at IS NOT NULL)", [])?;
    transaction.commit()?;
    Ok(saved)
}

fn stored(r: &Row<'_>) -> rusqlite::Result<Stored> {
    let finished: Option<i64> = r.get(9)?;
    let finish = match finished {
        Some(_) => Some((row::unsigned(r, 9)?, r.get(10)?, r.get(11)?, r.get(12)?, row::unsigned(r, 13)?)),
        None => None,
    };
    Ok(Stored {
        run: r.get(1)?,
        deployment: r.get(2)?,
        environment: r.get(3)?,
        started_at: row::unsigned(r, 4)?,
        body: r.get(5)?,
        root: r.get(6)?,
        head_seq: row::unsigned(r, 7)?,
        head_hash: r.get(8)?,
        finish,
    })
}

/// Keeps a run with the records up to the last one that is proved.
fn keep_run(
    source: &Connection,
    target: &Connection,
    stored: &Stored,
    close: &dyn Fn(&RunId) -> Closing,
    saved: &mut Saved,
) -> Result<(), WorkError> {
    let Stored { run, deployment, environment, started_at, body, root, .. } = stored;
    let Ok(id) = RunId::new(run.clone()) else {
        saved.lost.push("a run whose id cannot be read".to_owned());
        return Ok(());
    };
    if chain::start(run, deployment, environment, *started_at, body) != *root {
        saved.lost.push(format!("run {run}: its start was changed, so nothing of it is proved"));
        return Ok(());
    }
    let (entries, end, finished) = proved(source, stored);
    let last = entries.last().map_or(0, |e| e.seq);
    let complete = last == stored.head_seq
        && stored.finish.as_ref().map_or(end == stored.head_hash, |_| finished.is_some())
        && entries.last().map_or(*root, |e| e.hash) == stored.head_hash;
    let finish = stored.finish.as_ref().filter(|_| finished.is_some());
    target
        .prepare_cached(
            "INSERT INTO runs (run, deployment, environment, started_at, body, root, head_seq, head_hash, finished_at, \
             outcome, result, finish_hash, finish_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            run,
            deployment,
            environment,
            row::to_column("the time of a run", *started_at)?,
            body,
            root,
            row::to_column("a sequence number", last)?,
            entries.last().map_or(*root, |e| e.hash),
            finish.map(|f| row::to_column("the time of a finish", f.0)).transpose()?,
            finish.map(|f| f.1.clone()),
            finish.map(|f| f.2.clone()),
            finish.map(|f| f.3),
            finish.map(|f| row::to_column("a sequence number", f.4)).transpose()?,
        ])?;
    let mut insert = target.prepare_cached(
        "INSERT INTO entries (run, seq, at, service, kind, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for e in &entries {
        let seq = row::to_column("a sequence number", e.seq)?;
        let at = row::to_column("the time of a record", e.at)?;
        insert.execute(params![run, seq, at, e.service, e.kind, e.body, e.hash])?;
    }
    let closed = !complete && finish.is_none();
    if closed {
        let Closing { entries, finish } = close(&id);
        append::write(target, &id, &Append { entries, finish: Some(finish), ..Append::default() })?;
    }
    if !complete {
        saved.lost.push(format!("run {run}: {} of {} records are left", last, stored.head_seq.max(last)));
    }
    saved.runs.push(SavedRun { run: id, saved: last, had: stored.head_seq.max(last), closed });
    Ok(())
}

/// The records up to the last one that is proved, the hash behind them, and that of the finish where it is proved.
fn proved(source: &Connection, stored: &Stored) -> (Vec<Proved>, Hash, Option<Hash>) {
    let mut entries: Vec<Proved> = Vec::new();
    let mut previous = stored.root;
    let mut finished = None;
    let mut close_at = |last: u64, previous: &mut Hash| {
        if let Some((at, outcome, body, hash, seq)) = &stored.finish
            && *seq == last
            && chain::finish(previous, last, *at, outcome, body) == *hash
        {
            *previous = *hash;
            finished = Some(*hash);
        }
    };
    close_at(0, &mut previous);
    let mut read = |previous: &mut Hash, entries: &mut Vec<Proved>| -> rusqlite::Result<()> {
        let mut statement = source
            .prepare_cached("SELECT seq, at, service, kind, body, hash FROM entries WHERE run = ?1 ORDER BY seq")?;
        let mut rows = statement.query(params![stored.run])?;
        while let Some(r) = rows.next()? {
            let e = Proved {
                seq: row::unsigned(r, 0)?,
                at: row::unsigned(r, 1)?,
                service: r.get(2)?,
                kind: r.get(3)?,
                body: r.get(4)?,
                hash: r.get(5)?,
            };
            let expected = entries.last().map_or(1, |last| last.seq + 1);
            if e.seq != expected
                || chain::entry(previous, e.seq, e.at, e.service.as_deref(), &e.kind, &e.body) != e.hash
            {
                return Ok(());
            }
            *previous = e.hash;
            close_at(e.seq, previous);
            entries.push(e);
        }
        Ok(())
    };
    // Where it cannot be read any further it ends; what came before is proved.
    let _ = read(&mut previous, &mut entries);
    (entries, previous, finished)
}

/// The tables beside runs and records, in the order in which they refer to each other.
fn tables(target: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = target.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('runs', 'entries') \
         AND name NOT LIKE 'sqlite%' ORDER BY rowid",
    )?;
    statement.query_map([], |r| r.get(0))?.collect()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map(params![table], |r| r.get(0))?.collect()
}

fn has_column(connection: &Connection, table: &str, column: &str) -> bool {
    columns(connection, table).is_ok_and(|all| all.iter().any(|c| c == column))
}

/// Keeps every row of a table that can be read and that the new file takes.
fn keep_table(source: &Connection, target: &Connection, table: &str, saved: &mut Saved) -> Result<(), WorkError> {
    let old = columns(source, table).unwrap_or_default();
    let shared: Vec<String> = columns(target, table)?.into_iter().filter(|c| old.contains(c)).collect();
    if shared.is_empty() {
        return Ok(());
    }
    let list = shared.join(", ");
    let places: Vec<String> = (1..=shared.len()).map(|n| format!("?{n}")).collect();
    let mut insert = target.prepare(&format!("INSERT INTO {table} ({list}) VALUES ({})", places.join(", ")))?;
    let mut refused = 0_u64;
    let read = each_row(source, table, &list, |r| {
        let values: Vec<Value> = (1..=shared.len()).map(|n| r.get(n)).collect::<Result<_, _>>()?;
        // A row of a run that was lost, or one that the damage made impossible.
        refused += u64::from(insert.execute(params_from_iter(values)).is_err());
        Ok(())
    });
    if let Some(why) = read.trouble {
        saved.lost.push(format!("some rows of {table} cannot be read: {why}"));
    }
    if refused > 0 {
        saved.lost.push(format!("{refused} rows of {table}, whose run is lost or which make no sense"));
    }
    Ok(())
}

/// What became of reading a table.
struct Reading {
    trouble: Option<String>,
}

/// Reads a table row by row, past the pages that cannot be read. The row's number is the first column.
fn each_row(
    source: &Connection,
    table: &str,
    columns: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Reading {
    // So many numbers are tried one by one before the steps grow: rows are numbered densely.
    const ONE_BY_ONE: i64 = 4_096;
    let mut trouble: Option<String> = None;
    let bound = source
        .query_row(&format!("SELECT max(rowid) FROM {table}"), [], |r| r.get::<_, Option<i64>>(0))
        .unwrap_or(Some(i64::from(u32::MAX)));
    let by_number = format!("SELECT rowid, {columns} FROM {table} WHERE rowid >= ?1 ORDER BY rowid");
    let whole = format!("SELECT 0, {columns} FROM {table}");
    let numbered = source.prepare(&by_number);
    let (mut statement, numbered) = match numbered {
        Ok(statement) => (statement, true),
        Err(_) => match source.prepare(&whole) {
            Ok(statement) => (statement, false),
            Err(e) => return Reading { trouble: Some(e.to_string()) },
        },
    };
    let (mut from, mut misses) = (i64::MIN, 0_i64);
    loop {
        let mut last = None;
        let mut pass = || -> rusqlite::Result<()> {
            let mut rows = if numbered { statement.query(params![from])? } else { statement.query([])? };
            while let Some(r) = rows.next()? {
                last = Some(r.get::<_, i64>(0)?);
                if let Err(e) = take(r) {
                    trouble.get_or_insert(e.to_string());
                }
            }
            Ok(())
        };
        let Err(e) = pass() else { return Reading { trouble } };
        trouble.get_or_insert(e.to_string());
        misses = if last.is_some() { 0 } else { misses + 1 };
        let step = if misses < ONE_BY_ONE { 1 } else { 1 << (misses - ONE_BY_ONE).min(40) };
        from = match last {
            Some(last) => last.saturating_add(1),
            None if from == i64::MIN => 1,
            None => from.saturating_add(step),
        };
        if !numbered || bound.is_none_or(|bound| from > bound) {
            return Reading { trouble };
        }
    }
}
