//! What is asked of a notifier: events of a release, each delivered as the courier does.

use super::{Driver, End, Failed, json};
use basb_core::Millis;
use basb_runtime::wit::notifier::{Event, Info, Receipt};
use basb_runtime::wit::types::{self, Severity};
use serde_json::{Value, json as object};

/// Kinds that are delivered where a scenario names none.
pub const USUAL: [&str; 4] = ["run.started", "service.promoted", "warning", "run.finished"];

/// So often a delivery is tried.
const ATTEMPTS: u32 = 20;

/// What a notifier says of itself.
pub async fn describe(driver: &mut Driver<'_>) -> End {
    let config = driver.stage().config.clone();
    let info: Result<Info, Failed> = driver.call("describe", None, &config, |_| "null".to_owned()).await;
    match info {
        Ok(info) => End::Done(info.events.into_iter().map(Value::from).collect()),
        Err(failed) => failed.end(),
    }
}

/// Delivers one event, under one key, as often as it takes.
pub async fn deliver(driver: &mut Driver<'_>, kind: &str, number: u64) -> End {
    let config = driver.stage().config.clone();
    let event = event(kind, number);
    let key = format!("outbox-{number}");
    for attempt in 0..ATTEMPTS {
        let delivered: Result<Result<Receipt, types::Failure>, Failed> =
            driver.call("notify", Some(&key), &config, |cx| json(&(cx, event.clone()))).await;
        let failed = match delivered {
            Ok(Ok(_)) => {
                driver.keep_time();
                return End::Done(Value::from("delivered"));
            }
            Ok(Err(failure)) => Failed::of(failure),
            Err(failed) => failed,
        };
        let Some(after) = failed.again else {
            driver.keep_time();
            return failed.end();
        };
        let grown = Millis(200_u64 << attempt.min(10)).min(Millis::secs(60));
        driver.wait(grown.max(after)).await;
    }
    driver.keep_time();
    End::Failed { code: "engine/given-up".to_owned(), message: format!("not delivered in {ATTEMPTS} attempts") }
}

fn event(kind: &str, number: u64) -> Event {
    let service = kind.starts_with("service").then(|| "capture".to_owned());
    let data = object!({ "kind": kind, "seq": number });
    Event {
        key: format!("01kit/{number}/{kind}"),
        at: 1_767_225_600_000 + number * 1000,
        kind: kind.to_owned(),
        severity: if kind == "warning" { Severity::Warning } else { Severity::Info },
        deployment: "kit".to_owned(),
        environment: "test".to_owned(),
        run: "01KIT".to_owned(),
        revision: service.as_ref().map(|_| "r0123456789ab".to_owned()),
        service,
        title: format!("{kind} number {number}"),
        data: data.to_string(),
    }
}
