//! Guests that are too large to be written by hand.

use crate::{WatError, append_section, component, component_of, leb};
use std::fmt::Write as _;
use wasmparser::{Parser, Payload};

/// The frame of a probe around further functions.
fn probe(functions: &str) -> String {
    format!(
        "(module (memory (export \"memory\") 1) {functions}
          (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const 4096)
          (func (export \"basb:host/probe@0.1.0#describe\") (result i32) i32.const 64)
          (func (export \"basb:host/probe@0.1.0#check\")
            (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 64))"
    )
}

/// One function that calls another so many times: 300,000 calls in 600 KB took 2.6 s and 600 MiB to compile.
///
/// # Errors
/// [`WatError`].
pub fn many_calls(count: usize) -> Result<Vec<u8>, WatError> {
    component_of("many-calls", &probe(&format!("(func $f) (func {})", "call $f ".repeat(count))))
}

/// So many functions that do nothing.
///
/// # Errors
/// [`WatError`].
pub fn many_functions(count: usize) -> Result<Vec<u8>, WatError> {
    component_of("many-functions", &probe(&"(func)".repeat(count)))
}

/// One function with so many locals, all of them alive to its end: hard for a register allocator.
///
/// # Errors
/// [`WatError`].
pub fn many_locals(count: usize) -> Result<Vec<u8>, WatError> {
    let mut body = format!("(func (param i32) (result i32) (local{})", " i32".repeat(count));
    for local in 1..=count {
        let _ = write!(body, "(local.set {local} (i32.mul (local.get {}) (i32.const {local})))", local - 1);
    }
    body.push_str("(local.get 0)");
    for local in 1..=count {
        let _ = write!(body, "(local.get {local}) i32.xor");
    }
    body.push(')');
    component_of("many-locals", &probe(&body))
}

/// Blocks within blocks, so many deep.
///
/// # Errors
/// [`WatError`].
pub fn deep_blocks(depth: usize) -> Result<Vec<u8>, WatError> {
    let body = format!("(func {} {})", "block ".repeat(depth), "end ".repeat(depth));
    component_of("deep-blocks", &probe(&body))
}

/// A plugin in good order with one component more in it, given as text.
///
/// # Errors
/// [`WatError`].
pub fn with_component(text: &str) -> Result<Vec<u8>, WatError> {
    let inner =
        wat::parse_str(text).map_err(|error| WatError::Make { name: "inner".to_owned(), why: error.to_string() })?;
    Ok(append_section(component("quiet", &[])?, 4, &inner))
}

/// Lists of lists of lists …, so many deep.
///
/// # Errors
/// [`WatError`].
pub fn deep_types(depth: usize) -> Result<Vec<u8>, WatError> {
    let mut text = "(component (type $t0 (list u8))".to_owned();
    for level in 1..depth {
        let _ = write!(text, "(type $t{level} (list $t{}))", level - 1);
    }
    let _ = write!(text, "(export \"t\" (type $t{})))", depth - 1);
    with_component(&text)
}

/// Pairs of pairs of pairs …: its size doubles with each level.
///
/// # Errors
/// [`WatError`].
pub fn doubling_types(depth: usize) -> Result<Vec<u8>, WatError> {
    let mut text = "(component (type $t0 (tuple u64 u64))".to_owned();
    for level in 1..depth {
        let _ = write!(text, "(type $t{level} (tuple $t{0} $t{0}))", level - 1);
    }
    let _ = write!(text, "(type $f (func (param \"p\" $t{}))) (import \"f\" (func (type $f))))", depth - 1);
    with_component(&text)
}

/// Components within components, so many deep.
///
/// # Errors
/// [`WatError`].
pub fn deep_components(depth: usize) -> Result<Vec<u8>, WatError> {
    let mut inner = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        inner = append_section(b"\0asm\x0d\0\x01\0".to_vec(), 4, &inner);
    }
    Ok(append_section(component("quiet", &[])?, 4, &inner))
}

/// A plugin in good order that also makes `count` instances of a module, given as text.
///
/// # Errors
/// [`WatError`].
pub fn with_instances(module: &str, count: usize) -> Result<Vec<u8>, WatError> {
    let module =
        wat::parse_str(module).map_err(|error| WatError::Make { name: "module".to_owned(), why: error.to_string() })?;
    let quiet = component("quiet", &[])?;
    // The new module's number is that of the modules that are there.
    let mut depth = 0u32;
    let mut modules = 0;
    for payload in Parser::new(0).parse_all(&quiet) {
        match payload {
            Ok(Payload::ModuleSection { .. }) => {
                modules += usize::from(depth == 0);
                depth += 1;
            }
            Ok(Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let mut instances = leb(count);
    for _ in 0..count {
        instances.push(0);
        instances.extend(leb(modules));
        instances.push(0);
    }
    Ok(append_section(append_section(quiet, 1, &module), 2, &instances))
}
