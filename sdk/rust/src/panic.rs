//! How a panic's message reaches the host, even from a world that imports nothing.
//!
//! The hook writes a marker, the message's length, and the message into linear memory. After a trap the host looks for
//! the marker there: [`MARKER_LENGTH`] bytes `BASB-PANIC/1\0`, a `u32` in little-endian order, that many bytes of UTF-8.

use std::fmt::Write as _;
use std::hint::black_box;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once};

/// The marker's length in bytes.
pub const MARKER_LENGTH: usize = 13;
/// The longest message, in bytes; what is longer is cut.
pub const MESSAGE_LIMIT: usize = 4096;

const KEY: u8 = 0x5a;
// The marker must be found only where the hook wrote it, so the program itself holds it scrambled.
const SCRAMBLED: [u8; MARKER_LENGTH] = scramble(*b"BASB-PANIC/1\0");

static MESSAGE: Mutex<Buffer> = Mutex::new(Buffer { bytes: [0; MARKER_LENGTH + 4 + MESSAGE_LIMIT], length: 0 });
static HOOK: Once = Once::new();

struct Buffer {
    bytes: [u8; MARKER_LENGTH + 4 + MESSAGE_LIMIT],
    length: usize,
}

const fn scramble(mut bytes: [u8; MARKER_LENGTH]) -> [u8; MARKER_LENGTH] {
    let mut at = 0;
    while at < MARKER_LENGTH {
        #[expect(clippy::indexing_slicing, reason = "const evaluation, bounded by the loop")]
        {
            bytes[at] ^= KEY;
        }
        at += 1;
    }
    bytes
}

/// Installs the hook, once. Called at the entry of every export, for a component has no start of its own.
pub fn install() {
    // Natively a test's own hook stays.
    if cfg!(target_arch = "wasm32") {
        HOOK.call_once(|| std::panic::set_hook(Box::new(write_message)));
    }
}

fn write_message(info: &PanicHookInfo<'_>) {
    // A panic while the first message is being written must not wait for itself.
    let Ok(mut buffer) = MESSAGE.try_lock() else { return };
    buffer.fill(info);
    // Nothing in this program reads the buffer: keep the optimizer from dropping it.
    black_box(&*buffer);
}

impl Buffer {
    fn fill(&mut self, info: &PanicHookInfo<'_>) {
        self.length = 0;
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        // A message that is too long is cut, which is no error.
        let _ = match info.location() {
            Some(place) => write!(self, "{message} ({}:{}:{})", place.file(), place.line(), place.column()),
            None => write!(self, "{message}"),
        };
        let key = black_box(KEY);
        let length = u32::try_from(self.length).unwrap_or_default().to_le_bytes();
        let head = SCRAMBLED.iter().map(|byte| byte ^ key).chain(length);
        for (slot, byte) in self.bytes.iter_mut().zip(head) {
            *slot = byte;
        }
    }
}

impl std::fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = MESSAGE_LIMIT - self.length;
        let fits = text.floor_char_boundary(room);
        let start = MARKER_LENGTH + 4 + self.length;
        let (Some(slot), Some(part)) = (self.bytes.get_mut(start..start + fits), text.as_bytes().get(..fits)) else {
            return Err(std::fmt::Error);
        };
        slot.copy_from_slice(part);
        self.length += fits;
        if fits < text.len() { Err(std::fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_follows_marker_and_length() {
        let mut buffer = Buffer { bytes: [0; MARKER_LENGTH + 4 + MESSAGE_LIMIT], length: 0 };
        let filled = std::sync::Arc::new(Mutex::new(Vec::new()));
        let sink = filled.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let mut buffer = Buffer { bytes: [0; MARKER_LENGTH + 4 + MESSAGE_LIMIT], length: 0 };
            buffer.fill(info);
            *sink.lock().unwrap() = buffer.bytes.to_vec();
        }));
        let _ = std::panic::catch_unwind(|| panic!("disk {} is on fire", 3));
        std::panic::set_hook(before);
        let bytes = filled.lock().unwrap().clone();
        assert_eq!(&bytes[..13], b"BASB-PANIC/1\0");
        let length = u32::from_le_bytes(bytes[13..17].try_into().unwrap()) as usize;
        let message = std::str::from_utf8(&bytes[17..17 + length]).unwrap();
        assert!(message.starts_with("disk 3 is on fire ("), "{message}");
        assert!(message.contains("panic.rs:"), "{message}");
        // A message that does not fit is cut at a character's end.
        assert!(write!(buffer, "{}", "ü".repeat(3000)).is_err());
        assert_eq!(buffer.length, MESSAGE_LIMIT);
    }
}
