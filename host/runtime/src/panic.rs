//! The message of a guest that panicked.
//!
//! A component without any import cannot print. Its panic hook (the SDK's) leaves the message in its linear memory as
//! [`MARKER`], the length as four bytes, little-endian, and UTF-8; after the trap the host looks for it there.

use basb_capabilities::printable;
use memchr::memmem;
use wasmtime::{AsContext, WasmCoreDump};

/// What precedes a panic message.
pub(crate) const MARKER: &[u8] = b"BASB-PANIC/1\0";

/// The longest message that is shown, in bytes.
const LONGEST: usize = 3500;

/// No hook writes more; a larger number is not a length.
const LARGEST_LENGTH: usize = 1 << 20;

/// The message that a guest left, if it left one.
pub(crate) fn message(error: &wasmtime::Error, store: impl AsContext) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    dump.memories().iter().find_map(|memory| find(memory.data(&store)))
}

/// The marker is also among the guest's constants, where something else follows it: the first that is followed by a
/// length and text is the message.
fn find(memory: &[u8]) -> Option<String> {
    memmem::find_iter(memory, MARKER).find_map(|at| {
        let rest = memory.get(at + MARKER.len()..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if length == 0 || length > LARGEST_LENGTH {
            return None;
        }
        let text = rest.get(..length)?;
        let shown = text.get(..LONGEST).unwrap_or(text);
        Some(printable(&String::from_utf8_lossy(shown), LONGEST))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn the_message_is_found_behind_the_constant() {
        let constant = memory(&[MARKER, b"src/lib.rs and other text"]);
        assert_eq!(find(&constant), None);
        let both = memory(&[&constant, &[0; 100], MARKER, &5u32.to_le_bytes(), b"hello", &[0; 3]]);
        assert_eq!(find(&both).unwrap(), "hello");
        assert_eq!(find(&memory(&[MARKER, &0u32.to_le_bytes(), b"x"])), None);
        assert_eq!(find(&memory(&[MARKER, &9u32.to_le_bytes(), b"short"])), None);
        assert_eq!(find(MARKER), None);
    }

    #[test]
    fn a_message_is_bounded_and_harmless() {
        let hostile = memory(&[MARKER, &6u32.to_le_bytes(), b"a\x1b[2J\xff"]);
        assert_eq!(find(&hostile).unwrap(), "a\\u{1b}[2J\u{fffd}");
        let long = memory(&[MARKER, &100_000u32.to_le_bytes(), &[b'x'; 100_000]]);
        assert!(find(&long).unwrap().len() < LONGEST + 10);
    }
}
