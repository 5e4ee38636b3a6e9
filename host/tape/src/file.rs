//! A run with its tapes as one file: lines of JSON, readable, of one version.
//!
//! Each line is an object whose first key says what it is: `tapeFile`, `start`, `entry`, `finish`, `call`, `end`. What the
//! journal's hashes go over stands behind `"body":` exactly as it was written, so that a run that was imported can be
//! verified like the original.

use basb_core::{Digest, PluginName, RunId, ServiceName, Timestamp};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// The version of the file's form.
pub const TAPE_FILE_VERSION: u32 = 1;

/// What separates what a line is from what it holds. Raw quotes do not occur inside of a JSON string, and the part in
/// front has no key of that name.
const BODY: &str = ",\"body\":";

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileHeader {
    /// [`TAPE_FILE_VERSION`].
    pub tape_file: u32,
    /// The run.
    pub run: RunId,
    /// The version of basb-host that wrote it.
    pub host: String,
    /// The end of the run's chain of hashes: what is imported must have the same.
    pub head: Digest,
}

/// A run's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStart {
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// When it began.
    pub at: Timestamp,
    /// What the engine keeps with it, as JSON.
    #[serde(skip)]
    pub body: String,
}

/// A record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRecord {
    /// Its number.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The service that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Its kind.
    pub kind: String,
    /// The record, as JSON.
    #[serde(skip)]
    pub body: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFinish {
    /// When.
    pub at: Timestamp,
    /// In a word.
    pub outcome: String,
    /// Behind which record; later ones are notes.
    pub seq: u64,
    /// What the engine keeps with it, as JSON.
    #[serde(skip)]
    pub body: String,
}

/// A tape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileTape {
    /// The number of the call within its run.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The SHA-256 of its text.
    pub sha256: Digest,
    /// Its text; none where only the digest was kept.
    #[serde(skip)]
    pub body: Option<String>,
}

/// A run with its tapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeFile {
    /// What the file is.
    pub header: FileHeader,
    /// The run's start.
    pub start: FileStart,
    /// Its records, in order.
    pub records: Vec<FileRecord>,
    /// Its end, if it has come to one.
    pub finish: Option<FileFinish>,
    /// Its tapes, in order.
    pub tapes: Vec<FileTape>,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A line is not as it should be (`tape/file-unreadable`).
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It ends too early (`tape/file-cut-off`).
    #[error("the file is cut off: its last line is missing")]
    CutOff,
    /// A newer version of the program wrote it (`tape/newer`).
    #[error("the file is of version {found}, and this program reads up to version {TAPE_FILE_VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
}

impl FileError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Line { .. } => "tape/file-unreadable",
            Self::CutOff => "tape/file-cut-off",
            Self::Newer { .. } => "tape/newer",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Line { .. } => "use the file as `basb-host tape export` wrote it: lines may not be broken or joined",
            Self::CutOff => "copy the file again, or export it again",
            Self::Newer { .. } => "use a newer basb-host",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Start(FileStart),
    Entry(FileRecord),
    Finish(FileFinish),
    Call(FileTape),
    End(usize),
}

impl TapeFile {
    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut lines = 0_usize;
        let mut add = |line: String, body: Option<&str>| {
            match (body, line.strip_suffix('}')) {
                (Some(body), Some(front)) => {
                    text.push_str(front);
                    text.push_str(BODY);
                    text.push_str(body);
                    text.push('}');
                }
                _ => text.push_str(&line),
            }
            text.push('\n');
            lines += 1;
        };
        // What is written holds nothing that JSON cannot.
        let json = |line: &Line| serde_json::to_string(line).unwrap_or_default();
        add(serde_json::to_string(&self.header).unwrap_or_default(), None);
        add(json(&Line::Start(self.start.clone())), Some(&self.start.body));
        for record in &self.records {
            add(json(&Line::Entry(FileRecord { body: String::new(), ..record.clone() })), Some(&record.body));
        }
        if let Some(finish) = &self.finish {
            add(json(&Line::Finish(finish.clone())), Some(&finish.body));
        }
        for tape in &self.tapes {
            add(json(&Line::Call(FileTape { body: None, ..tape.clone() })), tape.body.as_deref());
        }
        text.push_str(&json(&Line::End(lines)));
        text.push('\n');
        text
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`FileError`], with the line.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut lines = (1_usize..).zip(text.lines());
        let (_, first) = lines.next().ok_or(FileError::CutOff)?;
        let header = header(first)?;
        let mut file = None;
        for (number, line) in lines {
            let wrong = |why: &str| FileError::Line { line: number, why: why.to_owned() };
            let (front, body) = split(line).map_err(|why| FileError::Line { line: number, why })?;
            let needed = || body.clone().ok_or_else(|| wrong("its body is missing"));
            match (front, &mut file) {
                (Line::Start(start), None) => {
                    let start = FileStart { body: needed()?, ..start };
                    file = Some(Self {
                        header: header.clone(),
                        start,
                        records: Vec::new(),
                        finish: None,
                        tapes: Vec::new(),
                    });
                }
                (_, None) | (Line::Start(_), Some(_)) => {
                    return Err(wrong("the start is the second line, and only that"));
                }
                (Line::Entry(record), Some(file)) => {
                    if record.seq != file.records.len() as u64 + 1 {
                        return Err(wrong("records are numbered from 1, without a gap"));
                    }
                    file.records.push(FileRecord { body: needed()?, ..record });
                }
                (Line::Finish(finish), Some(file)) => {
                    if file.finish.is_some() || finish.seq > file.records.len() as u64 {
                        return Err(wrong("a run ends once, behind one of its records"));
                    }
                    file.finish = Some(FileFinish { body: needed()?, ..finish });
                }
                (Line::Call(tape), Some(file)) => {
                    if file.tapes.last().is_some_and(|last| last.number >= tape.number) || tape.number == 0 {
                        return Err(wrong("calls are numbered from 1, each higher than the one before"));
                    }
                    file.tapes.push(FileTape { body, ..tape });
                }
                (Line::End(count), Some(_)) if count != number - 1 => {
                    return Err(wrong("lines are missing, or were added"));
                }
                (Line::End(_), Some(_)) => return file.ok_or(FileError::CutOff),
            }
        }
        Err(FileError::CutOff)
    }
}

fn header(line: &str) -> Result<FileHeader, FileError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        tape_file: u32,
    }
    let wrong = |why: String| FileError::Line { line: 1, why: format!("this is no file of tapes: {why}") };
    let version: Version = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
    if version.tape_file > TAPE_FILE_VERSION {
        return Err(FileError::Newer { found: version.tape_file });
    }
    serde_json::from_str(line).map_err(|e| wrong(e.to_string()))
}

/// What a line is, and its body exactly as it stands there.
fn split(line: &str) -> Result<(Line, Option<String>), String> {
    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }
    let Some((front, rest)) = line.split_once(BODY) else { return Ok((read(line)?, None)) };
    let body = rest.strip_suffix('}').ok_or("it does not end as a line does")?;
    read::<IgnoredAny>(body).map_err(|e| format!("its body is no JSON: {e}"))?;
    Ok((read(&format!("{front}}}"))?, Some(body.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../golden/tapes-v1.jsonl");

    #[test]
    fn the_form_is_as_it_was() {
        let file = TapeFile::parse(GOLDEN).unwrap();
        assert_eq!(file.text(), GOLDEN);
        assert_eq!((file.records.len(), file.tapes.len()), (2, 2));
        assert_eq!(file.finish.as_ref().map(|f| f.outcome.as_str()), Some("done"));
        assert_eq!(file.tapes[1].body, None);
        let body = file.tapes[0].body.as_deref().unwrap();
        assert_eq!(crate::Tape::parse(body).unwrap().text(), body);
        // Bodies come back as they stood there, spaces and all.
        assert_eq!(file.records[1].body, "{ \"record\": \"finished\" , \"body\": 1.50 }");
    }

    #[test]
    fn whatever_is_missing_is_noticed() {
        let lines: Vec<&str> = GOLDEN.lines().collect();
        for without in 0..lines.len() {
            let mut rest = lines.clone();
            rest.remove(without);
            let error = TapeFile::parse(&rest.join("\n")).unwrap_err();
            assert!(error.code().starts_with("tape/") && !error.next_step().is_empty(), "{without}: {error}");
        }
        for length in 0..GOLDEN.len() - 1 {
            assert!(TapeFile::parse(&GOLDEN[..length]).is_err(), "{length}");
        }
        let newer = GOLDEN.replacen("\"tapeFile\":1", "\"tapeFile\":2", 1);
        assert_eq!(TapeFile::parse(&newer), Err(FileError::Newer { found: 2 }));
    }
}
