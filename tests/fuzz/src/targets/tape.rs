//! Tapes of plugin calls, and files of them: what was exported somewhere else, and what is in a journal.

use crate::Target;
use basb_capabilities::exchange::Ask;
use basb_tape::{FileError, Tape, TapeError, TapeFile};

pub(crate) const TARGET: Target = Target {
    name: "tape",
    run,
    more: &[("host/tape/golden", "json"), ("host/tape/golden", "jsonl")],
    words: &[
        "{\"tapeFile\":1,\"run\":\"01a\",\"host\":\"\",\"head\":\"sha256:",
        "{\"start\":{\"deployment\":\"a\",\"environment\":\"b\",\"at\":1},\"body\":{}}\n",
        "{\"entry\":{\"seq\":1,\"at\":1,\"kind\":\"\"},\"body\":",
        "{\"finish\":{\"at\":1,\"outcome\":\"\",\"seq\":0},\"body\":{}}\n",
        "{\"call\":{\"number\":1,\"at\":1,\"sha256\":\"sha256:",
        "{\"end\":2}\n",
        "\"tape\":1",
        "\"tape\":4294967295",
        "\"exchanges\":[",
        "{\"ask\":",
        ",\"answer\":",
        "\"answer\":null",
        "{\"log\":{\"level\":\"info\",\"text\":\"\"}}",
        "{\"http\":{\"method\":\"GET\",\"url\":\"\",\"headers\":[]}}",
        "{\"base64\":\"",
        ",\"body\":",
        "\"replay\":\"bestEffort\"",
        "\"cut\":true",
        "\"outcome\":\"ok\"",
        "\"result\":null",
        "18446744073709551615",
        "1.5e300",
    ],
};

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    file(text);
    for line in text.lines() {
        tape(line);
        ask(line);
    }
}

/// A fraction may come back changed in its last digit: `serde_json` trades that for speed.
fn has_fraction(text: &str) -> bool {
    text.as_bytes().windows(2).any(|two| two[0].is_ascii_digit() && matches!(two[1], b'.' | b'e' | b'E'))
}

fn tape(text: &str) {
    match Tape::parse(text) {
        Ok(tape) => {
            let written = tape.text();
            assert!(!written.contains('\n'), "one line: {written}");
            if !has_fraction(text) {
                assert_eq!(Tape::parse(&written).as_ref(), Ok(&tape), "{written}");
                assert_eq!(Tape::parse(&written).map(|again| again.text()), Ok(written));
            }
            // A change of one exchange changes its mark, and no other.
            let marks = tape.marks();
            assert_eq!(marks.len(), tape.exchanges.len());
            if let Some(last) = tape.exchanges.len().checked_sub(1) {
                let mut other = tape.clone();
                other.exchanges[last].ask.push(' ');
                let changed = other.marks();
                assert_eq!(changed[..last], marks[..last]);
                assert_ne!(changed[last], marks[last]);
            }
        }
        Err(error) => {
            assert!(error.code().starts_with("tape/"));
            if let TapeError::Newer { found } = error {
                assert!(found > basb_tape::TAPE_VERSION);
            }
        }
    }
}

fn ask(text: &str) {
    let Ok(ask) = serde_json::from_str::<Ask>(text) else { return };
    let written = serde_json::to_string(&ask).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<Ask>(&written).ok().as_ref(), Some(&ask), "{written}");
    let _ = (ask.reads(), ask.shown(), ask.capability());
}

fn file(text: &str) {
    match TapeFile::parse(text) {
        Ok(file) => {
            let written = file.text();
            assert_eq!(TapeFile::parse(&written).as_ref(), Ok(&file), "{written}");
            assert!(file.records.iter().zip(1_u64..).all(|(record, seq)| record.seq == seq));
            assert!(file.tapes.windows(2).all(|two| two[0].number < two[1].number));
        }
        Err(error) => {
            assert!(error.code().starts_with("tape/") && !error.next_step().is_empty());
            if let FileError::Line { line, .. } = error {
                assert!(line >= 1 && line <= text.lines().count(), "line {line}");
            }
        }
    }
}
