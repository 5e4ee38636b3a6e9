//! The short run of every target: the committed inputs, and the same mutations of them each time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use basb_fuzz::mutate::{Random, mutate};
use basb_fuzz::{TARGETS, Target, inputs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Mutations of each target. With `BASB_FUZZ_RUNS` more, and with `BASB_FUZZ_SEED` others.
const RUNS: u64 = 3000;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs one input; what stumbles is kept as a file, and the message says where and how to run it once more.
fn try_one(target: &Target, what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}-{what}", target.name));
        std::fs::write(&kept, input).unwrap();
        let kept = kept.display();
        panic!("{what} of {} stumbles: `cargo run -p basb-fuzz -- run {} {kept}`", target.name, target.name);
    }
}

fn short(name: &str) {
    let target = basb_fuzz::target(name).unwrap();
    let committed = inputs::committed(target).unwrap();
    assert!(!committed.is_empty(), "put some inputs into corpus/{name}");
    for (file, input) in &committed {
        try_one(target, file, input);
    }
    let seeds: Vec<Vec<u8>> = committed.into_iter().map(|(_, input)| input).collect();
    let seed = number("BASB_FUZZ_SEED", 1);
    for run in 0..number("BASB_FUZZ_RUNS", RUNS) {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (run << 1));
        random.below(1);
        let input = mutate(target, &seeds, &mut random);
        try_one(target, &format!("mutation-{seed}-{run}"), &input);
    }
}

macro_rules! short {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                short(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_its_test() {
            let tests = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), tests);
        }
    };
}

short!(
    grants patterns url policy headers answer placeholder deployment secrets credentials manifest component lock signature
    journal redact tape
);

#[test]
fn mutations_are_the_same_each_time() {
    let target = &TARGETS[0];
    let seeds = [b"one\ntwo\n".to_vec(), b"{\"three\":[]}".to_vec()];
    let all = || (1..200).map(|seed| mutate(target, &seeds, &mut Random::new(seed))).collect::<Vec<_>>();
    assert_eq!(all(), all());
    let different: std::collections::BTreeSet<_> = all().into_iter().collect();
    assert!(different.len() > 20);
}
