//! Fuzz targets: one plain function for each thing that reads what somebody else wrote, with what must hold whatever the
//! input is.
//!
//! **Must never** take "does not panic" for enough: each target compares with a second, simpler reading, or with what a
//! round trip has to give back. **Must never** depend on wasmtime: targets are built with coverage counters, often.
//!
//! Two programs drive them: `tests/short.rs` runs the committed inputs and some thousand mutations of them, the same ones
//! each time; `cargo xtask fuzz` (`libfuzzer/`) searches for as long as it is told to. What it finds goes to
//! `corpus/TARGET/`, and stays there.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests in all but name: a target that stumbles has found something"
)]

pub mod inputs;
pub mod mutate;
pub mod targets;

/// Something that reads what somebody else wrote.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics when something does not hold for this input.
    pub run: fn(&[u8]),
    /// Folders of the repository with further inputs, and how their names end: files that other tests use.
    pub more: &'static [(&'static str, &'static str)],
    /// What such inputs are made of: what a mutation that knows nothing would seldom write.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    targets::grants::TARGET,
    targets::patterns::TARGET,
    targets::url::TARGET,
    targets::policy::TARGET,
    targets::headers::TARGET,
    targets::answer::TARGET,
    targets::placeholder::TARGET,
    targets::deployment::TARGET,
    targets::secrets::TARGET,
    targets::credentials::TARGET,
    targets::manifest::TARGET,
    targets::component::TARGET,
    targets::lock::TARGET,
    targets::signature::TARGET,
    targets::journal::TARGET,
    targets::redact::TARGET,
    targets::tape::TARGET,
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
