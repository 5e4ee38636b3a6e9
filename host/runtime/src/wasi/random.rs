//! Seeded randomness: SHA-256 of a seed and a counter, so that the same call throws the same dice.
//!
//! It is no secret: whoever knows the plugin and its call knows the dice. A plugin that needs a secret has it put in by
//! the host.

use sha2::{Digest as _, Sha256};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

/// The most bytes that a guest gets at once.
const MOST: u64 = 64 << 10;

/// The dice of one call.
pub(crate) struct Seeded {
    seed: [u8; 32],
    thrown: u64,
}

impl Seeded {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, thrown: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        self.thrown += 1;
        Sha256::new().chain_update(self.seed).chain_update(self.thrown.to_le_bytes()).finalize().into()
    }

    fn bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > MOST {
            return Err(wasmtime::format_err!("asked for {length} random bytes at once; the limit is {MOST}"));
        }
        let length = usize::try_from(length)?;
        let mut bytes = Vec::with_capacity(length.next_multiple_of(32));
        while bytes.len() < length {
            bytes.extend_from_slice(&self.block());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.block();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl random::Host for Seeded {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.number())
    }
}

impl insecure::Host for Seeded {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.number())
    }
}

impl insecure_seed::Host for Seeded {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.number(), self.number()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_dice() {
        let throw = |seed| {
            let mut dice = Seeded::new([seed; 32]);
            (dice.bytes(33).unwrap(), dice.number(), dice.bytes(0).unwrap())
        };
        assert_eq!(throw(1), throw(1));
        assert_ne!(throw(1).0, throw(2).0);
        assert_eq!(throw(1).0.len(), 33);
        let mut dice = Seeded::new([3; 32]);
        assert_ne!(dice.number(), dice.number());
        assert!(dice.bytes(MOST).is_ok());
        assert!(dice.bytes(MOST + 1).is_err() && dice.bytes(u64::MAX).is_err());
    }
}
