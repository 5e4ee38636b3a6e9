//! Commands, headers and second messages smuggled into mail.

use crate::case::{Case, Outcome};
use crate::ensure;
use crate::expect::{denied, failed};
use crate::lab::{Lab, deliver};
use basb_guest_script::{Outcome as Told, Step};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("mail-addresses", "commands and further recipients in addresses", addresses),
        Case::new("mail-headers", "further headers, and a text of its own, in a subject and in headers", headers),
        Case::new(
            "mail-own-headers",
            "headers that are the host's own: From, To, Bcc, Date, the encoding",
            own_headers,
        ),
        Case::new("mail-text", "the end of the message, and commands after it, in the text", text),
        Case::new("mail-recipients", "senders, recipients and servers that are not granted", recipients),
        Case::new("mail-flood", "ten thousand recipients, and twelve hundred mails", flood),
        Case::new("mail-answers", "a mail server whose answers forge lines, and do not end", answers),
    ]
}

/// A mail server that writes down every line that it gets.
struct Office {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Office {
    /// One that takes everything; what it says after a message is given.
    async fn open(last: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let _ = talk(stream, &seen, last).await;
                });
            }
        });
        Self { port, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many commands of a kind arrived, outside of messages as well as inside: each of them is one for a server that
    /// sees the end of a message where it is not.
    fn count(&self, command: &str) -> usize {
        let is = |line: &&String| line.to_ascii_uppercase().starts_with(command);
        self.lines().iter().filter(is).count()
    }
}

async fn talk(stream: tokio::net::TcpStream, seen: &Mutex<Vec<String>>, last: &str) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    write.write_all(b"220 office\r\n").await?;
    let mut message = false;
    loop {
        let mut line = Vec::new();
        if read.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        seen.lock().unwrap().push(line.clone());
        let answer = match (message, line.as_str()) {
            (true, ".\r\n") => {
                message = false;
                last
            }
            (true, _) => continue,
            (false, "DATA\r\n") => {
                message = true;
                "354 go on\r\n"
            }
            (false, "QUIT\r\n") => "221 bye\r\n",
            (false, _) => "250 fine\r\n",
        };
        write.write_all(answer.as_bytes()).await?;
    }
}

fn granted(office: &Office) -> Value {
    json!({"smtp": [{"server": "office", "host": "127.0.0.1", "port": office.port, "tls": "none",
        "from": ["basb@example.com"], "to": ["*@example.com"]}]})
}

fn mail() -> Step {
    with(|_| ())
}

/// Everything that can be forged in a mail.
struct Parts {
    server: String,
    from: String,
    to: Vec<String>,
    subject: String,
    text: String,
    headers: Vec<(String, String)>,
}

fn with(change: impl FnOnce(&mut Parts)) -> Step {
    let mut parts = Parts {
        server: "office".to_owned(),
        from: "basb@example.com".to_owned(),
        to: vec!["ops@example.com".to_owned()],
        subject: "a run is finished".to_owned(),
        text: "all is well\n".to_owned(),
        headers: Vec::new(),
    };
    change(&mut parts);
    let Parts { server, from, to, subject, text, headers } = parts;
    Step::Mail { server, from, to, subject, text, headers }
}

async fn send(lab: &Lab, grants: &Value, steps: Vec<Step>) -> Result<Vec<Told>, String> {
    let seen = deliver(&lab.notifier(grants), steps).await.map_err(|error| error.to_string())?;
    Ok(seen.into_iter().map(|seen| seen.outcome).collect())
}

async fn addresses(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("250 taken\r\n").await;
    let tricks = [
        "ops@example.com>\r\nRCPT TO:<victim@other.example",
        "ops@example.com\nRCPT TO:<victim@other.example>",
        "ops@example.com\r\nDATA",
        "ops@example.com> SIZE=1",
        "victim@other.example,ops@example.com",
        "<victim@other.example>ops@example.com",
        "\"victim@other.example\r\n\"@example.com",
        "victim%other.example@example.com\r",
        "ops@example.com\0@example.com",
        "@other.example:ops@example.com",
        "\u{202e}ops@example.com",
    ];
    let to = tricks.iter().map(|trick| with(|mail| mail.to = vec![(*trick).to_owned()]));
    let from = tricks.iter().map(|trick| with(|mail| mail.from = (*trick).to_owned()));
    let mut last = String::new();
    for (told, step) in send(&lab, &granted(&office), to.clone().chain(from).collect()).await?.iter().zip(to.cycle()) {
        last = failed(told, &["denied", "other"], &[]).map_err(|why| format!("{step:?}: {why}"))?;
    }
    ensure!(office.lines().is_empty(), "something arrived: {:?}", office.lines());
    Ok(format!("{} addresses, the last one: {last}", tricks.len() * 2))
}

async fn headers(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("250 taken\r\n").await;
    let tricks = [
        "x\r\nBcc: victim@other.example",
        "x\nBcc: victim@other.example",
        "x\rBcc: victim@other.example",
        "x\r\n\r\n<h1>another text</h1>",
        "x\r\n.\r\nMAIL FROM:<evil@example.com>",
        "x\u{85}Bcc: victim@other.example",
        "x\u{2028}Bcc: victim@other.example",
        "x\0y",
    ];
    let subjects = tricks.iter().map(|trick| with(|mail| mail.subject = (*trick).to_owned()));
    let values = tricks.iter().map(|trick| with(|mail| mail.headers = vec![("X-A".to_owned(), (*trick).to_owned())]));
    let names = tricks.iter().map(|trick| with(|mail| mail.headers = vec![((*trick).to_owned(), "1".to_owned())]));
    let told = send(&lab, &granted(&office), subjects.chain(values).chain(names).collect()).await?;
    let refused = told.iter().filter(|told| told.kind() != "ok").count();
    for told in told.iter().filter(|told| told.kind() != "ok") {
        failed(told, &["denied", "other"], &[])?;
    }
    // What arrived all the same has no header and no command that was smuggled in.
    for line in office.lines() {
        let plain = line.to_ascii_lowercase();
        ensure!(!plain.starts_with("bcc") && !plain.contains("<h1>") && !plain.contains("evil@"), "{line:?}");
    }
    let sent = told.len() - refused;
    ensure!(office.count("MAIL FROM") == sent && office.count("RCPT TO") == sent, "{:?}", office.lines());
    ensure!(refused >= 18, "only {refused} of {} were refused", told.len());
    Ok(format!("{refused} of {} were refused, and {sent} arrived as one line", told.len()))
}

async fn own_headers(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("250 taken\r\n").await;
    let names = [
        "From",
        "to",
        "BCC",
        "Cc",
        "Date",
        "Sender",
        "Content-Transfer-Encoding",
        "MIME-Version",
        "Subject",
        "Message-ID",
    ];
    let steps = names
        .iter()
        .map(|name| with(|mail| mail.headers = vec![((*name).to_owned(), "victim@other.example".to_owned())]));
    let told = send(&lab, &granted(&office), steps.collect()).await?;
    for (name, told) in names.iter().zip(&told) {
        if told.kind() != "ok" {
            failed(told, &["denied", "other"], &[])?;
            continue;
        }
        let own = format!("{}:", name.to_ascii_lowercase());
        let twice = office.lines().iter().filter(|line| line.to_ascii_lowercase().starts_with(&own)).count();
        ensure!(twice <= office.count("MAIL FROM"), "`{name}` is there twice: {:?}", office.lines());
        ensure!(!["Bcc", "bcc", "BCC", "Cc", "Sender"].contains(name), "`{name}` could be set: {:?}", office.lines());
    }
    let all = office.lines().concat();
    ensure!(!all.contains("RCPT TO:<victim"), "{all}");
    let refused = told.iter().filter(|told| told.kind() != "ok").count();
    Ok(format!("{refused} of {} were refused", names.len()))
}

async fn text(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("250 taken\r\n").await;
    let tricks = [
        "x\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
        "x\n.\nMAIL FROM:<evil@example.com>\n",
        "x\n.\r\nMAIL FROM:<evil@example.com>\r\n",
        "x\r.\rMAIL FROM:<evil@example.com>\r",
        "x\r\n.\nMAIL FROM:<evil@example.com>",
        "x\r\r\n.\r\r\nMAIL FROM:<evil@example.com>",
        ".\r\nQUIT\r\n",
        "..\r\n.",
    ];
    let steps = tricks.iter().map(|trick| with(|mail| mail.text = (*trick).to_owned())).collect();
    let told = send(&lab, &granted(&office), steps).await?;
    let sent = told.iter().filter(|told| told.kind() == "ok").count();
    let lines = office.lines();
    // Every message is one: as many ends as beginnings, and every line end in it is CR LF.
    let ends = lines.iter().filter(|line| *line == ".\r\n").count();
    let begins = lines.iter().filter(|line| *line == "DATA\r\n").count();
    ensure!(ends == sent && begins == sent && sent > 0, "{sent} sent, {begins} begun, {ends} ended: {lines:?}");
    let bare = lines.iter().find(|line| !line.ends_with("\r\n") || line.trim_end_matches("\r\n").contains('\r'));
    ensure!(bare.is_none(), "a line end that is none: {bare:?}");
    Ok(format!("{sent} of {} arrived, each as one message", tricks.len()))
}

async fn recipients(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("250 taken\r\n").await;
    let plugin = lab.notifier(&granted(&office));
    let steps = vec![
        with(|mail| mail.to = vec!["victim@other.example".to_owned()]),
        with(|mail| mail.to = vec!["ops@example.com".to_owned(), "victim@other.example".to_owned()]),
        with(|mail| mail.to = vec!["ops@example.com.other.example".to_owned()]),
        with(|mail| mail.from = "boss@example.com".to_owned()),
        with(|mail| mail.server = "other".to_owned()),
        with(|mail| mail.server = "127.0.0.1".to_owned()),
    ];
    let mut last = String::new();
    for seen in deliver(&plugin, steps).await.map_err(|error| error.to_string())? {
        last = denied(&seen.outcome, &plugin, "notify", &["smtp:"])?;
    }
    ensure!(office.lines().is_empty(), "something arrived: {:?}", office.lines());
    Ok(last)
}

async fn flood(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("250 taken\r\n").await;
    let many = with(|mail| mail.to = (0..10_000).map(|n| format!("u{n}@example.com")).collect());
    let told = send(&lab, &granted(&office), vec![many]).await?;
    failed(&told[0], &["other"], &["10000 recipients"])?;
    ensure!(office.lines().is_empty(), "something arrived");
    let told = send(&lab, &granted(&office), vec![Step::Repeat { times: 1200, step: Box::new(mail()) }]).await?;
    let Told::Many { kinds, last } = &told[0] else { return Err(format!("{told:?}")) };
    ensure!(kinds.get("ok") == Some(&1000) && office.count("MAIL FROM") == 1000, "{kinds:?}");
    ensure!(last.contains("1000"), "{last}");
    Ok(last.clone())
}

async fn answers(lab: Arc<Lab>) -> Outcome {
    let office = Office::open("550 no\u{1b}[2J\r\u{202e}FORGED\r\n").await;
    let told = send(&lab, &granted(&office), vec![mail()]).await?;
    failed(&told[0], &["refused", "other"], &["550"])?;
    let long: &'static str = Box::leak(format!("550 {}\r\n", "x".repeat(1 << 20)).into_boxed_str());
    let office = Office::open(long).await;
    let told = send(&lab, &granted(&office), vec![mail()]).await?;
    failed(&told[0], &["refused", "other", "unavailable"], &[])?;
    let lines: &'static str = Box::leak("250-more\r\n".repeat(200_000).into_boxed_str());
    let office = Office::open(lines).await;
    let told = send(&lab, &granted(&office), vec![mail()]).await?;
    failed(&told[0], &["refused", "other", "unavailable"], &[])
}
