//! What is asked of a probe: measurements of what is named in the scenario, each with its verdict.

use super::{Driver, End, Failed, json};
use crate::file::TargetFile;
use basb_runtime::wit::probe::{Info, Measurement, Target};
use serde_json::{Value, json as object};

/// What a probe says of itself.
pub async fn describe(driver: &mut Driver<'_>) -> End {
    let config = driver.stage().config.clone();
    let info: Result<Info, Failed> = driver.call("describe", None, &config, |_| "null".to_owned()).await;
    match info {
        Ok(info) => End::Done(info.values.into_iter().map(|value| Value::from(value.name)).collect()),
        Err(failed) => failed.end(),
    }
}

/// One measurement. What it comes to is its verdict and the names of what it measured: how long something took differs.
pub async fn measure(driver: &mut Driver<'_>, target: &TargetFile) -> End {
    let config = driver.stage().config_or(&target.config);
    let wanted = Target {
        service: "capture".to_owned(),
        revision: None,
        url: target.url.clone(),
        extras: target.extras.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    };
    // As in a run: `target: service` in a grant stands for its origin.
    driver.target = target.url.parse().ok();
    // A measurement changes nothing, so it has no key and is made again from its beginning.
    let measured: Result<Measurement, Failed> =
        driver.call("check", None, &config, |cx| json(&(cx, wanted.clone()))).await;
    driver.keep_time();
    match measured {
        Ok(measurement) => {
            let mut values: Vec<String> = measurement.values.iter().map(|(name, _)| name.clone()).collect();
            values.sort();
            End::Done(object!({
                "verdict": verdict(&measurement), "values": values, "summary": measurement.summary,
            }))
        }
        Err(failed) => failed.end(),
    }
}

/// The word for a verdict.
fn verdict(measurement: &Measurement) -> &'static str {
    use basb_runtime::wit::types::Verdict as V;
    match measurement.verdict {
        V::Pass => "pass",
        V::Fail => "fail",
        V::Inconclusive => "inconclusive",
        V::Error => "error",
        V::NoData => "no-data",
    }
}
