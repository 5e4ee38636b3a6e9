//! The output of a container, as the engine sends it.

/// The lines in it. Without a terminal the engine puts eight bytes in front of each piece: which stream, and how long.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = frames(bytes).unwrap_or_else(|| bytes.to_vec());
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The pieces put together; nothing where this is not made of pieces.
fn frames(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(8)?;
        let &[0..=2, 0, 0, 0, a, b, c, d] = head else { return None };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        // The last one may have been cut off.
        let (piece, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        all.extend_from_slice(piece);
        bytes = rest;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn both_forms_are_read() {
        let framed = b"\x01\0\0\0\0\0\0\x06hello\n\x02\0\0\0\0\0\0\x05oh\nno";
        assert_eq!(lines(framed), ["hello", "oh", "no"]);
        assert_eq!(lines(b"\x01\0\0\0\0\0\0\x20cut off"), ["cut off"]);
        assert_eq!(lines(b"plain\r\n\r\nlines\r\n"), ["plain", "lines"]);
        assert_eq!(lines(b""), [""; 0]);
    }
}
