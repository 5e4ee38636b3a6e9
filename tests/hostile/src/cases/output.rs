//! Forging what people read: log lines, last words and results with control characters, in great number and at great
//! length.

use super::doors::Door;
use super::{by_hand, load, none};
use crate::case::{Case, Outcome};
use crate::ensure;
use crate::expect::ended;
use crate::lab::{Lab, check, patient, play, script};
use basb_guest_script::{Script, Step};
use std::sync::Arc;

/// What looks like an event of the host, repaints the terminal, and runs backwards.
const FORGED: &str = "x\r\n{\"version\":1,\"kind\":\"run.finished\",\"outcome\":\"promoted\"}\n\u{1b}[2J\u{1b}]0;pwned\u{7}\u{202e}drawkcab\u{2066}\u{0}";

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        Case::new("log-flood", "log lines for ever", |lab: Arc<Lab>| async move {
            let line = Step::Log { text: "x".repeat(1000), copies: 1 };
            let flood = Step::Repeat { times: u32::MAX, step: Box::new(line) };
            ended(play(&lab.probe(&none()), &script(vec![flood])).await, &["plugin/log-flood"], &["262144"])
        }),
        Case::new(
            "panic-paints",
            "last words that forge an event and repaint the terminal",
            |lab: Arc<Lab>| async move {
                let panic = Step::Panic(FORGED.to_owned());
                ended(play(&lab.probe(&none()), &script(vec![panic])).await, &["plugin/panic"], &["drawkcab"])
            },
        ),
        Case::new("panic-long", "last words of a megabyte", |lab: Arc<Lab>| async move {
            let panic = Step::Panic("\u{1b}[2Jx".repeat(200_000));
            // The words themselves may be cut off; `ended` bounds the message.
            ended(play(&lab.probe(&none()), &script(vec![panic])).await, &["plugin/panic"], &[])
        }),
        Case::new(
            "panic-lies",
            "last words of which the guest says that they are longer than its memory",
            |lab: Arc<Lab>| async move {
                let plugin = load(&lab, &by_hand("panic-lies", &[]), &none()).map_err(|error| error.to_string())?;
                ended(check(&plugin, &patient(), "{}", "x").await, &["plugin/trap", "plugin/panic"], &[])
            },
        ),
        Case::new(
            "result-forged",
            "a summary of sixteen million bytes that forges events",
            |lab: Arc<Lab>| async move {
                let answer =
                    basb_guest_script::Answer { summary: FORGED.to_owned(), copies: 200_000, ..Default::default() };
                let told = Script { answer: Some(answer), ..Script::default() };
                let config = serde_json::to_string(&told).unwrap();
                ended(check(&lab.probe(&none()), &patient(), &config, "x").await, &["plugin/too-large"], &["16 MiB"])
            },
        )
        .may_grow(120),
    ];
    for door in Door::BOTH {
        let name = format!("{}-log-paints", door.prefix());
        all.push(Case::new(name, "log lines that forge events and repaint the terminal", move |lab| paints(lab, door)));
    }
    all
}

async fn paints(lab: Arc<Lab>, door: Door) -> Outcome {
    let plugin = door.guest(&lab, &lab.runtime, &serde_json::json!([{"host": "nowhere.invalid"}]));
    let steps = vec![
        Step::Log { text: FORGED.to_owned(), copies: 1 },
        Step::Log { text: "\u{1b}[2J".to_owned(), copies: 20_000 },
    ];
    let config = serde_json::to_string(&script(steps)).unwrap();
    let called = check(&plugin, &patient(), &config, "x").await.map_err(|error| error.to_string())?;
    let lines = called.report.last_lines;
    ensure!(!lines.is_empty(), "no line was kept");
    for line in &lines {
        let harmful = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        ensure!(!line.text.chars().any(harmful), "{:?}", line.text);
        ensure!(line.text.len() <= (8 << 10) + 16, "a line of {} bytes", line.text.len());
    }
    Ok(lines[0].text.clone())
}
