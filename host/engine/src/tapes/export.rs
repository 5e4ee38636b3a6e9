//! A run with its tapes as one file, and back.

use super::Tapes;
use crate::EngineError;
use basb_core::RunId;
use basb_journal::{Entry, Finish, ImportedRun, Journal, RunStart, RunState, StoredTape, VerifyError};
use basb_tape::{FileFinish, FileHeader, FileRecord, FileStart, FileTape, TapeFile};

/// A run with its tapes, as the text of a file. What is in the journal holds no secret, so this holds none.
///
/// # Errors
/// [`EngineError`] when there is no such run, or it is not as it was written.
pub async fn export_tapes(journal: &Journal, run: &str) -> Result<(RunId, String), EngineError> {
    let found = journal.run(run).await?;
    let run = found.start.run.clone();
    let head = match journal.verify(&run).await {
        Ok(head) => head,
        Err(VerifyError::Broken(broken)) => {
            return Err(EngineError::Call { code: "journal/broken-chain".to_owned(), message: broken.to_string() });
        }
        Err(VerifyError::Journal(e)) => return Err(e.into()),
    };
    let entries = journal.entries(&run, 1).await?;
    let finish = match found.state {
        RunState::Open => None,
        RunState::Finished { at, outcome, body } => {
            // Notes are of these kinds only, and the finish is the last record of another kind.
            let behind = entries.iter().rev().find(|e| !matches!(e.kind.as_str(), "called" | "taped"));
            Some(FileFinish { at, outcome, seq: behind.map_or(0, |e| e.seq), body })
        }
    };
    let mut tapes = Vec::new();
    let mut pages = Tapes::of(journal, &run);
    loop {
        let page = pages.page().await?;
        if page.is_empty() {
            break;
        }
        tapes.extend(page.into_iter().map(|tape| FileTape {
            number: tape.call,
            at: tape.at,
            sha256: basb_tape::digest(&tape.sha256),
            body: tape.body,
        }));
    }
    let record = |e: Entry| FileRecord { seq: e.seq, at: e.at, service: e.service, kind: e.kind, body: e.body };
    let file = TapeFile {
        header: FileHeader {
            tape_file: basb_tape::TAPE_FILE_VERSION,
            run: run.clone(),
            host: env!("CARGO_PKG_VERSION").to_owned(),
            head: head.hash,
        },
        start: FileStart {
            deployment: found.start.deployment,
            environment: found.start.environment,
            at: found.start.at,
            body: found.start.body,
        },
        records: entries.into_iter().map(record).collect(),
        finish,
        tapes,
    };
    Ok((run, file.text()))
}

/// Takes the run in a file over into a journal: it can be shown, audited and played back there.
///
/// # Errors
/// [`EngineError::Call`] when the text is no such file, when the run is not finished, or when it is not what was
/// exported.
pub async fn import_tapes(journal: &Journal, text: &str) -> Result<RunId, EngineError> {
    let wrong = |code: &str, message: String| EngineError::Call { code: code.to_owned(), message };
    let file = TapeFile::parse(text).map_err(|e| wrong(e.code(), format!("{e}; {}", e.next_step())))?;
    let run = file.header.run.clone();
    let Some(finish) = file.finish else {
        return Err(wrong(
            "run/not-finished",
            format!("run {run} was not finished when it was exported: export it again"),
        ));
    };
    let tape = |tape: FileTape| {
        // One that has its text has the digest of that text: whether it is the right one, the records tell.
        let sha256 = match &tape.body {
            Some(body) => basb_tape::sha256(body),
            None => bytes_of(&tape.sha256).unwrap_or_default(),
        };
        StoredTape { call: tape.number, at: tape.at, sha256, body: tape.body }
    };
    let entry = |e: FileRecord| Entry { seq: e.seq, at: e.at, service: e.service, kind: e.kind, body: e.body };
    let imported = ImportedRun {
        start: RunStart {
            run: run.clone(),
            deployment: file.start.deployment,
            environment: file.start.environment,
            at: file.start.at,
            body: file.start.body,
        },
        entries: file.records.into_iter().map(entry).collect(),
        finish_seq: finish.seq,
        finish: Finish { at: finish.at, outcome: finish.outcome, body: finish.body },
        tapes: file.tapes.into_iter().map(tape).collect(),
        head: file.header.head,
    };
    journal.import_run(imported).await?;
    Ok(run)
}

/// The bytes of a digest.
fn bytes_of(digest: &basb_core::Digest) -> Option<[u8; 32]> {
    let hex = digest.as_str().strip_prefix("sha256:")?;
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
