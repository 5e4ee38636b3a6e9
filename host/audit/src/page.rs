//! Text in 100 columns: fields with a label in front, and long lines broken between words.

/// How wide a page is, in characters.
pub const WIDTH: usize = 100;

/// Lines of text.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A line as it is.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// An empty line, unless the page has just begun or there is one already.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A line that begins with `head` and goes on with `body`, whose further lines stand below its first.
    pub fn hang(&mut self, head: &str, body: &str) {
        let indent = head.chars().count();
        let mut first = true;
        for part in body.lines().flat_map(|line| broken(line, WIDTH.saturating_sub(indent).max(20))) {
            if first {
                self.line(&format!("{head}{part}"));
            } else {
                self.line(&format!("{:indent$}{part}", ""));
            }
            first = false;
        }
        if first {
            self.line(head);
        }
    }

    /// The text.
    pub fn end(self) -> String {
        self.text
    }
}

/// A line in parts of at most so many characters, broken at spaces. What stands in front of the first word stays there;
/// a word that is longer than that is left whole, so that it can be copied.
fn broken(line: &str, width: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let lead: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut part = lead.clone();
    let mut used = false;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let length = part.chars().count() + usize::from(used) + word.chars().count();
        if used && length > width {
            parts.push(std::mem::replace(&mut part, lead.clone()));
            used = false;
        }
        if used {
            part.push(' ');
        }
        part.push_str(word);
        used = true;
    }
    parts.push(part);
    parts
}

/// `1 call`, `2 calls`.
pub fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// A number of bytes, short.
pub fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=9_999_999 => format!("{} kB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

/// A time in microseconds, short.
pub fn took(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros} µs"),
        1_000..=9_999_999 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}
