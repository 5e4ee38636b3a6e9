//! `basb-host replay`, `backtest`, `postmortem` and `tape`: what is done with runs after they were made.

use super::{counted, session, write_new};
use crate::args::{BacktestArgs, TapeCommand};
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_core::{Millis, PluginName, RunId, Timestamp};
use basb_engine::{
    Backtest, BacktestRun, ReplayReport, Session, backtest as compare, export_tapes, history as runs, import_tapes,
    now, plugin_bytes, postmortem as told, replay as play,
};
use basb_journal::RunFilter;
use console::style;
use std::path::{Path, PathBuf};

/// The run that is meant: the newest, unless one is named.
async fn meant(session: &Session, run: Option<&str>) -> Result<String, CliError> {
    match run {
        Some(run) => Ok(run.to_owned()),
        None => match runs(session.journal(), RunFilter::default(), 1).await?.pop() {
            Some(newest) => Ok(newest.run.to_string()),
            None => Err(CliError::plain("cli/no-runs", "there are no runs yet", "start one with `basb-host run`")),
        },
    }
}

/// Plays a run back.
pub async fn replay(
    run: Option<&str>,
    plugins: &[PathBuf],
    state: Option<&Path>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let session = session(state)?;
    for file in plugins {
        session.kept().keep(&plugin_bytes(&file.to_string_lossy(), Path::new("."))?)?;
    }
    let run = meant(&session, run).await?;
    let report = play(session.journal(), session.kept(), session.compiled(), &run).await?;
    match printer.form() {
        Form::Json => printer.json(&report),
        Form::Text => show_replay(&report, printer),
    }
    Ok(if report.identical { Exit::Done } else { Exit::Error })
}

fn show_replay(report: &ReplayReport, printer: Printer) {
    let done = format!(
        "{} of {} of plugins and {} of {} of strategies are byte for byte the same; {} made again",
        report.identical_calls,
        counted(number(report.calls), "call"),
        report.identical_strategy_calls,
        counted(number(report.strategy_calls), "call"),
        counted(number(report.decisions.intents), "decision"),
    );
    let verdict = if report.identical { style("identical").green() } else { style("not identical").red() };
    printer.line(&format!("run {}: {verdict}: {done}", report.run));
    if report.best_effort_calls > 0 {
        printer.line(&format!(
            "  {} of plugins with an HTTP client of their own: what they race is compared in any order, best effort",
            counted(number(report.best_effort_calls), "call")
        ));
    }
    if let Some(broken) = &report.broken_chain {
        printer.line(&format!("  the records: {broken}"));
    }
    for tampered in &report.tampered {
        printer.line(&format!("  {} (record {})", tampered.why, tampered.seq));
    }
    for what in &report.unreadable {
        printer.line(&format!("  {what}"));
    }
    for missing in &report.missing {
        let calls = counted(number(missing.calls), "call");
        printer.line(&format!("  {calls} of {} not made: {}", missing.plugin, missing.why));
    }
    if report.without_text > 0 {
        printer.line(&format!("  {} without a text: dropped by retention, or too large", report.without_text));
    }
    for difference in &report.differences {
        printer.line(&format!("  {}", shown(difference)));
    }
    if let Some(difference) = &report.decisions.difference {
        printer.line(&format!(
            "  record {}: the core decided {}, and decides {} now",
            difference.seq, difference.expected, difference.actual
        ));
    }
}

fn shown(difference: &basb_engine::CallDifference) -> String {
    let place = match (difference.call, difference.seq) {
        (Some(call), _) => format!("tape {call}"),
        (None, Some(seq)) => format!("record {seq}"),
        (None, None) => "a call".to_owned(),
    };
    let service = difference.service.as_ref().map_or_else(String::new, |service| format!(" for {service}"));
    let effort = match difference.replay {
        basb_engine::ReplayKind::Exact => "",
        basb_engine::ReplayKind::BestEffort => " (best effort)",
    };
    let (plugin, function) = (&difference.plugin, &difference.function);
    format!("{place}, {plugin}.{function}{service}{effort}: {}", difference.divergence)
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Runs another version of a plugin over recorded runs.
pub async fn backtest(args: &BacktestArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let name = match &args.as_name {
        Some(name) => Some(PluginName::new(name.clone()).map_err(|e| {
            CliError::plain("cli/bad-name", e.to_string(), "write the plugin's name as in the deployment file")
        })?),
        None => None,
    };
    let mut wanted: Vec<RunId> = Vec::new();
    for run in &args.runs {
        wanted.push(session.journal().run(run).await.map_err(basb_engine::EngineError::from)?.start.run);
    }
    if wanted.is_empty() {
        wanted.extend(runs(session.journal(), RunFilter::default(), args.last).await?.into_iter().map(|run| run.run));
    }
    let bytes = plugin_bytes(&args.plugin, Path::new("."))?.into_owned();
    let report = compare(session.journal(), session.kept(), session.compiled(), bytes, name.as_ref(), &wanted).await?;
    match printer.form() {
        Form::Json => printer.json(&report),
        Form::Text => show_backtest(&report, printer),
    }
    // Who names a run wants to know it of that run; of the newest ones some may have nothing to compare.
    let all_named = args.runs.is_empty() || report.runs.iter().all(BacktestRun::is_compared);
    Ok(if report.is_same() && all_named { Exit::Done } else { Exit::Error })
}

fn show_backtest(report: &Backtest, printer: Printer) {
    printer.line(&format!("{} {}", style(&report.plugin).bold(), report.digest));
    for run in &report.runs {
        if let Some(why) = &run.skipped {
            printer.line(&format!("run {}: skipped: {why}", run.run));
            continue;
        }
        let classes: Vec<String> = run.classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
        let what = if classes.is_empty() { "no call was compared".to_owned() } else { classes.join(", ") };
        printer.line(&format!("run {}: {what}", run.run));
        if let Some(first) = &run.first {
            printer.line(&format!("  {}: {}", style(first.divergence.class).yellow(), shown(first)));
        }
        if run.without_tape > 0 {
            printer.line(&format!("  {} without a tape that can be played", run.without_tape));
        }
    }
    if report.compared == 0 {
        printer
            .line("nothing was compared: name runs in which it was called and whose tapes are kept (`tape show RUN`)");
    } else if !report.complete {
        printer.line("not everything was compared: see above");
    }
}

/// Tells what happened in a run.
pub async fn postmortem(run: Option<&str>, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let report = told(session.journal(), &meant(&session, run).await?).await?;
    match printer.form() {
        Form::Json => printer.json(&report),
        Form::Text => printer.raw(report.markdown().as_bytes()),
    }
    Ok(if report.doubts.is_empty() { Exit::Done } else { Exit::Error })
}

/// Does something with tapes.
pub async fn tape(command: &TapeCommand, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    match command {
        TapeCommand::Show { run, call } => show(&session, run.as_deref(), *call, printer).await,
        TapeCommand::Export { run, file } => {
            let (run, text) = export_tapes(session.journal(), run).await?;
            write_new(file, &text)?;
            match printer.form() {
                Form::Json => printer.json(&serde_json::json!({
                    "version": 1, "run": run, "file": file, "bytes": text.len(),
                })),
                Form::Text => printer.line(&format!("run {run} is in {} ({} bytes)", file.display(), text.len())),
            }
            Ok(Exit::Done)
        }
        TapeCommand::Import { file } => {
            let text = std::fs::read_to_string(file).map_err(|e| unusable(file, "read", &e))?;
            let run = import_tapes(session.journal(), &text).await?;
            match printer.form() {
                Form::Json => printer.json(&serde_json::json!({ "version": 1, "run": run })),
                Form::Text => printer.line(&format!("run {run} is here: `basb-host replay {run}`")),
            }
            Ok(Exit::Done)
        }
        TapeCommand::Prune { run, older_than } => {
            let before = Timestamp(now().0.saturating_sub(older_than.0).saturating_add(u64::from(older_than.0 == 0)));
            let run = match run {
                Some(run) => Some(session.journal().run(run).await.map_err(basb_engine::EngineError::from)?.start.run),
                None => None,
            };
            let pruned =
                session.journal().prune_tapes(run.as_ref(), before).await.map_err(basb_engine::EngineError::from)?;
            match printer.form() {
                Form::Json => printer.json(&serde_json::json!({
                    "version": 1, "tapes": pruned.tapes, "bytes": pruned.bytes,
                })),
                Form::Text => printer.line(&format!(
                    "dropped the text of {} ({} bytes); their digests stay in the records",
                    counted(number(pruned.tapes), "tape"),
                    pruned.bytes
                )),
            }
            Ok(Exit::Done)
        }
    }
}

fn unusable(file: &Path, what: &str, error: &std::io::Error) -> CliError {
    CliError::plain("cli/file", format!("{} cannot be {what}: {error}", file.display()), "check the path")
}

async fn show(session: &Session, run: Option<&str>, call: Option<u64>, printer: Printer) -> Result<Exit, CliError> {
    let id = meant(session, run).await?;
    let journal = session.journal();
    let run = journal.run(&id).await.map_err(basb_engine::EngineError::from)?.start.run;
    let (from, limit) = call.map_or((1, u32::MAX), |call| (call, 1));
    let tapes = journal.tapes(&run, from, limit).await.map_err(basb_engine::EngineError::from)?;
    if let Some(call) = call.filter(|call| tapes.first().is_none_or(|tape| tape.call != *call)) {
        return Err(CliError::plain(
            "tape/none",
            format!("run {run} has no tape {call}"),
            format!("`basb-host tape show {run}` lists them"),
        ));
    }
    for tape in &tapes {
        let parsed = tape.body.as_deref().map(basb_tape::Tape::parse);
        match printer.form() {
            Form::Json => printer.json(&serde_json::json!({
                "version": 1,
                "run": run,
                "call": tape.call,
                "sha256": tape.digest(),
                "tape": tape.body.as_deref().and_then(|b| serde_json::from_str::<serde_json::Value>(b).ok()),
            })),
            Form::Text => match parsed {
                None => printer.line(&format!("{:>6}  its text was dropped", tape.call)),
                Some(Err(e)) => printer.line(&format!("{:>6}  {e}", tape.call)),
                Some(Ok(parsed)) => {
                    let at = parsed.at.to_string();
                    let service = parsed.service.as_ref().map_or("-", |s| s.as_str());
                    let best = if parsed.replay == basb_tape::Replay::Exact { "" } else { "  best effort" };
                    printer.line(&format!(
                        "{:>6}  {}  {service:16}  {}.{}  {}  {}{best}",
                        tape.call,
                        at.get(..23).unwrap_or(&at),
                        parsed.plugin,
                        parsed.function,
                        counted(parsed.exchanges.len(), "exchange"),
                        parsed.outcome,
                    ));
                    if call.is_some() {
                        printer.line(&format!("  args    {}", parsed.args));
                        for (number, exchange) in (1_u32..).zip(&parsed.exchanges) {
                            printer.line(&format!("  {number:>3}  ask    {}", exchange.ask));
                            let answer = exchange.answer.as_deref();
                            if !exchange.is_log() {
                                printer
                                    .line(&format!("       answer {}", answer.unwrap_or("not known: it was cut off")));
                            }
                        }
                        printer.line(&format!("  result  {}", parsed.result.as_deref().unwrap_or("none")));
                    }
                }
            },
        }
    }
    Ok(Exit::Done)
}

/// A span of time such as `30d`, `12h`, `90m` or `45s`; `0` for none.
pub fn span(text: &str) -> Result<Millis, String> {
    let wrong = || "write a time such as 30d, 12h, 90m or 45s; 0 means all".to_owned();
    if text == "0" {
        return Ok(Millis::ZERO);
    }
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit: u64 = match unit {
        "d" => 24 * 60 * 60 * 1000,
        "h" => 60 * 60 * 1000,
        "m" => 60 * 1000,
        "s" => 1000,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).map(Millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(span("30d"), Ok(Millis(2_592_000_000)));
        assert_eq!(span("45s"), Ok(Millis(45_000)));
        assert_eq!(span("0"), Ok(Millis(0)));
        for wrong in ["", "d", "30", "-1d", "1w", "99999999999999999999d", "ä"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
