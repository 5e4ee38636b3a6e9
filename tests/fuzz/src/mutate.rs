//! Mutations that are the same each time: a seeded generator, bytes and words changed, parts of inputs put together.

use crate::Target;

/// A generator of numbers that are random enough for this (Marsaglia's xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed; the same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        if end == 0 { 0 } else { usize::try_from(value).unwrap_or(0) % end }
    }
}

/// The longest input that is made.
const LONGEST: usize = 8 << 10;

/// Bytes that have a meaning somewhere.
const BYTES: &[u8] = b"\0\n\r\t \"#$%&'()*+,-./0:;<=>?@A[\\]^_a{|}~\x7f\x80\xc3\xe2\xf0\xff";

/// A new input from those there are.
#[must_use]
pub fn mutate(target: &Target, seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let Some(first) = seeds.get(random.below(seeds.len())) else { return Vec::new() };
    let mut input = first.clone();
    for _ in 0..=random.below(6) {
        change(target, seeds, random, &mut input);
    }
    input.truncate(LONGEST);
    input
}

fn change(target: &Target, seeds: &[Vec<u8>], random: &mut Random, input: &mut Vec<u8>) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(16)).min(input.len());
    match random.below(9) {
        0 => input.insert(at, BYTES[random.below(BYTES.len())]),
        1 if at < input.len() => input[at] = BYTES[random.below(BYTES.len())],
        2 if at < input.len() => input[at] ^= 1 << random.below(8),
        3 => drop(input.drain(at..end)),
        4 => {
            let part = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, part);
        }
        5 | 6 if !target.words.is_empty() => {
            let word = target.words[random.below(target.words.len())];
            let end = if random.below(2) == 0 { at } else { end };
            input.splice(at..end, word.bytes());
        }
        7 if !seeds.is_empty() => {
            // The start of one, the end of another.
            let other = &seeds[random.below(seeds.len())];
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        // A line twice, or elsewhere: most of what is read here has lines.
        _ => {
            let lines: Vec<Vec<u8>> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if !lines.is_empty() {
                let line = lines[random.below(lines.len())].clone();
                input.splice(at..at, line);
            }
        }
    }
}
