//! What was asked of a plugin in a real run, once more.

use super::{Driver, End, Failed};
use crate::counterpart::RecordedCall;
use serde_json::Value;

/// Functions that change something: they are written ahead.
const CHANGES: [&str; 5] = ["apply", "traffic", "retire", "cancel", "notify"];

/// One call of the recording, tried again as the engine does.
pub async fn step(driver: &mut Driver<'_>, number: usize, call: &RecordedCall) -> End {
    let key = CHANGES.contains(&call.function.as_str()).then_some("recorded");
    let args = call.args.to_string();
    // What a probe is pointed at.
    let url = call.args.get(1).and_then(|target| target.get("url")).and_then(Value::as_str);
    driver.target = url.filter(|_| call.function == "check").and_then(|url| url.parse().ok());
    let mut attempt = 1;
    loop {
        driver.stage().door.counterpart().begin(number);
        let called: Result<Value, Failed> = driver.call(&call.function, key, "{}", |_| args.clone()).await;
        let failed = match called {
            Ok(value) => match failure(&value) {
                None => {
                    driver.keep_time();
                    return End::Done(without_times(value));
                }
                Some(failed) => failed,
            },
            Err(failed) => failed,
        };
        match Driver::backoff(&failed, attempt) {
            Some(wait) => driver.wait(wait).await,
            None => {
                driver.keep_time();
                return failed.end();
            }
        }
        attempt += 1;
    }
}

/// The failure in a result, if it is one.
fn failure(value: &Value) -> Option<Failed> {
    let failure = value.get("Err").or_else(|| value.get("Failed"))?;
    serde_json::from_value(failure.clone()).ok().map(Failed::of)
}

/// A measurement without what differs by itself.
fn without_times(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut()
        && map.contains_key("verdict")
    {
        map.retain(|name, _| name == "verdict");
    }
    value
}
