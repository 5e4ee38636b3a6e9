//! `world judge-plugin`: compares samples; pure.

use crate::wit::judge::{Judgement, Series};
use crate::wit::types::Failure;

super::world! {
    /// A judge.
    Judge, Judge, judge;
    /// Judges.
    "judge" 0 pub fn judge(config: String, series: Vec<Series>) -> Result<Judgement, Failure>;
}
