//! How much a plugin's answer may hold before it becomes a part of the run's history.
//!
//! What a plugin says is written to the journal, shown, and told to notifiers, again at each look. The sandbox bounds one
//! answer (16 MiB); this bounds what is kept of it. Attack: a provider that needs "only one moment more", and has the host
//! write megabytes at each of them, for as long as a rollout may take.
//!
//! Texts for people are cut. What is given back to the plugin as it was, or is judged, is never cut: too much of it is a
//! failure of the plugin.

use basb_core::Millis;
use basb_core::run::Failure;

/// The longest text for people, in bytes.
const TEXT: usize = 2 << 10;

/// The longest line, in characters.
const LINE: usize = 300;

/// The longest URL, in bytes.
const URL: usize = 2 << 10;

/// The largest state that is kept for a plugin, in bytes.
const STATE: usize = 64 << 10;

/// The most names and values of one measurement, in bytes.
const MEASUREMENT: usize = 256 << 10;

/// The most entries of a list: revisions of a service, steps of a preview, actions of a plan, problems.
const ENTRIES: usize = 1000;

/// The shortest time between two looks at a call that goes on.
const POLL: Millis = Millis(100);

/// The most lines of a text for people.
const LINES: usize = 40;

/// A text for people: cut where it is too long, and without anything that could repaint a terminal. Its lines stay lines,
/// since a denial holds those that would lift it, to be pasted; whoever prints them sets them apart.
pub fn text(text: String) -> String {
    let mut kept = String::new();
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            kept.push('\n');
        }
        if number >= LINES || kept.len() >= TEXT {
            kept.push('…');
            break;
        }
        kept.push_str(&basb_grants::printable(line, TEXT.saturating_sub(kept.len())));
    }
    kept
}

/// A text that is shown as it stands, such as in a diagnostic or a plan: in one line, short, and without anything that
/// could repaint a terminal or pass for another line.
pub fn line(text: &str) -> String {
    basb_grants::printable(text, LINE)
}

/// A state that is given back as it was.
///
/// # Errors
/// The plugin's failure, when it is too large.
pub fn state(state: String) -> Result<String, Failure> {
    if state.len() <= STATE { Ok(state) } else { Err(too_much("state to be remembered", state.len(), STATE, "bytes")) }
}

/// A list.
///
/// # Errors
/// The plugin's failure, when it is too long.
pub fn list<T>(what: &str, list: Vec<T>) -> Result<Vec<T>, Failure> {
    if list.len() <= ENTRIES { Ok(list) } else { Err(too_much(what, list.len(), ENTRIES, "entries")) }
}

/// Where a service or a revision can be reached.
///
/// # Errors
/// The plugin's failure, when it is too long.
pub fn url(url: Option<String>) -> Result<Option<String>, Failure> {
    match url {
        Some(url) if url.len() > URL => Err(too_much("URL", url.len(), URL, "bytes")),
        url => Ok(url),
    }
}

/// Whether a measurement can be kept.
///
/// # Errors
/// What to say instead of its summary.
pub fn measurement(values: &[(String, f64)], facts: &[(String, String)]) -> Result<(), String> {
    let bytes: usize = values.iter().map(|(name, _)| name.len() + 8).sum();
    let bytes = bytes + facts.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let (entries, most) = (values.len() + facts.len(), MEASUREMENT);
    if entries > ENTRIES || bytes > most {
        return Err(format!(
            "the measurement has {entries} values and facts of {bytes} bytes together; {ENTRIES} and {most} bytes are the most"
        ));
    }
    Ok(())
}

/// When a call that goes on is looked at again.
pub fn poll(after: Millis) -> Millis {
    after.max(POLL)
}

fn too_much(what: &str, found: usize, most: usize, unit: &str) -> Failure {
    Failure {
        code: "plugin/too-large".to_owned(),
        message: format!("the plugin's {what}: {found} {unit}, and {most} is the most; report it to its publisher"),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_do_not_repaint() {
        assert_eq!(text("short".to_owned()), "short");
        assert_eq!(text("denied:\nplugins:\n  mcp:".to_owned()), "denied:\nplugins:\n  mcp:");
        assert!(text("ä".repeat(TEXT)).len() < TEXT + 100);
        assert!(text("a\n".repeat(TEXT)).lines().count() <= LINES + 1);
        assert!(text("\u{7}".repeat(TEXT)).len() < TEXT + 100);
        let forged = text("fine\u{1b}[2J\u{202e}\rrun finished".to_owned());
        assert!(!forged.contains(['\u{1b}', '\r', '\u{202e}']), "{forged}");
        assert!(!line("fine\nrun finished").contains('\n'));
    }

    #[test]
    fn what_is_given_back_is_never_cut() {
        assert_eq!(state("s".repeat(STATE)).unwrap().len(), STATE);
        assert!(state("s".repeat(STATE + 1)).unwrap_err().message.contains("65537 bytes"));
        assert!(list("revisions", vec![0; ENTRIES + 1]).unwrap_err().message.contains("1001 entries"));
    }
}
