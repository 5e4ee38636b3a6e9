//! Searches the guest's own linear memory, all of it: the heap, what was freed, the stack, and constants.

use crate::{Hunt, unhex};

/// The size of a page of linear memory, in bytes.
const PAGE: usize = 64 << 10;

/// The names of the needles that are in memory. They are compared byte by byte with what is masked, so that looking for
/// one does not put it there.
#[must_use]
pub fn search(hunt: &Hunt, searched: &mut u64) -> Vec<String> {
    let key = unhex(&hunt.key);
    let needles: Vec<(&str, Vec<u8>)> = hunt.needles.iter().map(|(name, hex)| (name.as_str(), unhex(hex))).collect();
    let Some(first_key) = key.first().copied() else { return Vec::new() };
    let mut begins = [false; 256];
    for (_, needle) in &needles {
        if let Some(place) = needle.first().and_then(|first| begins.get_mut(usize::from(*first))) {
            *place = true;
        }
    }
    let end = core::arch::wasm32::memory_size::<0>() * PAGE;
    *searched += end as u64;
    let mut found = Vec::new();
    // Address 0 is left out: no object can be there.
    for at in 1..end {
        let masked = byte(at) ^ first_key;
        if !begins.get(usize::from(masked)).copied().unwrap_or(false) {
            continue;
        }
        for (name, needle) in &needles {
            let fits = at + needle.len() <= end && !found.contains(&(*name).to_owned());
            let mut pairs = needle.iter().zip(key.iter().cycle()).enumerate();
            if fits && pairs.all(|(offset, (wanted, key))| byte(at + offset) ^ key == *wanted) {
                found.push((*name).to_owned());
            }
        }
    }
    found
}

#[expect(unsafe_code, reason = "looking at memory that is nobody's is what it is for")]
fn byte(at: usize) -> u8 {
    // SAFETY: the address is below the memory's size; whatever is there is a byte, and a guest has one thread.
    unsafe { core::ptr::read_volatile(at as *const u8) }
}
