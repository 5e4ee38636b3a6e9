//! A probe that measures nothing and passes. For the benchmark of large deployments.

use basb_plugin::probe::{Info, Measurement, Probe, ProbeContext, Target};
use basb_plugin::{Failure, NoConfig};

/// Measures nothing.
#[derive(Debug)]
pub struct NoOp;

impl Probe for NoOp {
    type Config = NoConfig;

    fn describe() -> Info {
        Info::new()
    }

    fn check(_cx: &ProbeContext, _config: &NoConfig, _target: &Target) -> Result<Measurement, Failure> {
        Ok(Measurement::pass("nothing was measured"))
    }
}

basb_plugin::export!(NoOp as probe);
