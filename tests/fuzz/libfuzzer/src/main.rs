//! Hands inputs of libFuzzer to the target that `BASB_FUZZ_TARGET` names.

#![no_main]

use basb_fuzz::Target;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("BASB_FUZZ_TARGET").unwrap_or_default();
    basb_fuzz::target(&name).unwrap_or_else(|| panic!("BASB_FUZZ_TARGET names no target: `{name}`"))
});

fuzz_target!(|input: &[u8]| (TARGET.run)(input));
