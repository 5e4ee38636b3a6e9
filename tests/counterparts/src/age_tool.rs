//! The age tools, `age` and `age-keygen`: make keys and encrypted files. <https://age-encryption.org>

use crate::install;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The installed tools.
#[derive(Debug)]
pub struct Age {
    age: PathBuf,
    keygen: PathBuf,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As bytes.
    Binary,
    /// As PEM-like text.
    Armored,
}

/// Finds the tools; `None`, and a message on standard error, when they are not installed.
#[must_use]
pub fn find() -> Option<Age> {
    let alone = "apt-get install age    # or `brew install age`, or https://github.com/FiloSottile/age/releases";
    let age = install::find_or_say("age/bin/age", "age", alone)?;
    let keygen = install::find_or_say("age/bin/age-keygen", "age-keygen", alone)?;
    Some(Age { age, keygen })
}

impl Age {
    /// Makes an identity in `file` and gives its recipient.
    ///
    /// # Panics
    /// When the tool fails.
    #[must_use]
    pub fn identity(&self, file: &Path) -> String {
        run(Command::new(&self.keygen).arg("-o").arg(file), "");
        run(Command::new(&self.keygen).arg("-y").arg(file), "").trim().to_owned()
    }

    /// Encrypts `content` into `file` for these recipients.
    ///
    /// # Panics
    /// When the tool fails.
    pub fn encrypt(&self, content: &str, recipients: &[&str], form: Form, file: &Path) {
        let mut command = Command::new(&self.age);
        for recipient in recipients {
            command.args(["-r", recipient]);
        }
        if form == Form::Armored {
            command.arg("-a");
        }
        run(command.arg("-o").arg(file), content);
    }

    /// Encrypts `content` into `file` with a passphrase. The tool asks for it on a terminal, which `script` of util-linux
    /// plays.
    ///
    /// # Panics
    /// When a tool fails, or a path has characters that a shell would read.
    pub fn encrypt_with_passphrase(&self, content: &str, passphrase: &str, file: &Path) {
        let plain = file.with_extension("plain");
        std::fs::write(&plain, content).expect("a file for the content");
        let paths = [&self.age, file, &plain].map(|path| path.to_str().expect("a path in UTF-8").to_owned());
        assert!(paths.iter().all(|p| p.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))), "{paths:?}");
        let [age, file, plain] = &paths;
        let shell = format!("{age} -p -o {file} {plain}");
        let said =
            run(Command::new("script").args(["-qec", &shell, "/dev/null"]), &format!("{passphrase}\n{passphrase}\n"));
        assert!(Path::new(file).is_file(), "age made no file: {said}");
    }
}

fn run(command: &mut Command, input: &str) -> String {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown} could not be started: {e}"));
    // Who does not read it may have ended already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
