//! The default plugins, as components embedded in the binary: what a deployment file calls `builtin:NAME`.
//!
//! What it must **never** do: treat them as anything but bytes. A builtin plugin is loaded, inspected, granted and
//! limited like any other; being shipped with the host gives it no right.

/// A plugin that is part of the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// Its name, such as `strategy-canary`.
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
    /// `sha256:` and 64 hexadecimal digits: the digest of the bytes.
    pub digest: &'static str,
}

static BUILTINS: &[Builtin] = include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// Every plugin that is part of the binary, sorted by name.
pub fn all() -> &'static [Builtin] {
    BUILTINS
}

/// The plugin of that name (without `builtin:`), if there is one.
pub fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}
