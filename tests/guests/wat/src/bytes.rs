//! Sections of a component, put there by hand.

/// A number in LEB128, as WebAssembly writes lengths.
#[must_use]
pub fn leb(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// A component with one more section at its end.
#[must_use]
pub fn append_section(mut component: Vec<u8>, id: u8, contents: &[u8]) -> Vec<u8> {
    component.push(id);
    component.extend(leb(contents.len()));
    component.extend_from_slice(contents);
    component
}

/// A component with one more custom section at its end.
#[must_use]
pub fn with_section(component: Vec<u8>, name: &str, contents: &[u8]) -> Vec<u8> {
    let mut section = leb(name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(contents);
    append_section(component, 0, &section)
}
