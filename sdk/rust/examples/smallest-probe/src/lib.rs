//! The smallest probe: is it there?
use basb_plugin::{Failure, NoConfig, http::Request, probe::*};

/// Asks for `/health`.
pub struct Alive;

impl Probe for Alive {
    type Config = NoConfig;

    fn describe() -> Info {
        Info::new().value("status", "", "the response's status code")
    }

    fn check(cx: &ProbeContext, _: &NoConfig, target: &Target) -> Result<Measurement, Failure> {
        let response = cx.http().send(Request::get(format!("{}/health", target.url)))?;
        Ok(Measurement::pass_if(response.is_success(), "is it there?").value("status", response.status))
    }
}
basb_plugin::export!(Alive as probe);
