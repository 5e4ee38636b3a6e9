//! `world probe-plugin`: takes one measurement.

use crate::wit::probe::{Info, Measurement, Target};
use crate::wit::types::CallContext;
use crate::{CallError, CallOptions, Called};

super::world! {
    /// A probe.
    Probe, Probe, probe;
    /// What the probe measures. Makes no request.
    "describe" 0 pub fn describe() -> Info;
    /// `check` with the options as they are.
    "check" 1 fn check_as_told(cx: CallContext, target: Target) -> Measurement;
}

impl Probe {
    /// Measures once. A grant with `target: service` stands for the origin of the target's URL, unless the options name
    /// another one.
    ///
    /// # Errors
    /// [`CallError`] when the call does not come to its end.
    pub async fn check(
        &self,
        options: &CallOptions,
        cx: CallContext,
        target: Target,
    ) -> Result<Called<Measurement>, CallError> {
        if options.target.is_some() {
            return self.check_as_told(options, cx, target).await;
        }
        let mut options = options.clone();
        // A URL that cannot be read is nobody's origin: nothing is granted by it.
        options.target = target.url.parse().ok();
        self.check_as_told(&options, cx, target).await
    }
}
