//! Random numbers from a short row of bytes, so that a failing case can be made small.

/// A row of bytes that begins anew, scrambled, when it is used up.
#[derive(Debug)]
pub struct Reel {
    bytes: Vec<u8>,
    at: usize,
}

impl Reel {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> u8 {
        let round = u8::try_from((self.at / self.bytes.len()) % 256).unwrap();
        let byte = self.bytes[self.at % self.bytes.len()];
        self.at += 1;
        byte ^ round.wrapping_mul(97).rotate_left(u32::from(round % 8))
    }

    /// A number below this one.
    pub fn below(&mut self, n: usize) -> usize {
        (usize::from(self.byte()) * 256 + usize::from(self.byte())) % n
    }

    /// True in so many of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
