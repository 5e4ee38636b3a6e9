//! The limits of one call inside the sandbox. What a call may have the host do is bounded by
//! [`basb_capabilities::Limits`].

/// The limits of one call inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// Linear memory of all instances of the call together, in bytes; at most [`crate::engine::MAX_MEMORY`].
    pub memory: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// Core instances; a component of Rust's standard library has three, one of Python's some dozens.
    pub instances: usize,
    /// Tables.
    pub tables: usize,
    /// Memories.
    pub memories: usize,
    /// Bytes and elements that one result, or the arguments of one host call, may have together.
    pub transfer: usize,
    /// Handles of resources, such as streams, that are alive at once.
    pub handles: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            memory: crate::engine::MAX_MEMORY,
            table_elements: 20_000,
            instances: crate::engine::MAX_CORE_INSTANCES as usize,
            tables: 20,
            memories: 4,
            transfer: 16 << 20,
            handles: 1000,
        }
    }
}

/// Counts the memory of one store. wasmtime's own limiter bounds each memory, not their sum.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: CallLimits,
    memory: usize,
    refused: Option<usize>,
}

impl Limiter {
    pub(crate) fn new(limits: CallLimits) -> Self {
        Self { limits, memory: 0, refused: None }
    }

    /// The most handles of resources.
    pub(crate) fn handles(&self) -> usize {
        self.limits.handles
    }

    /// What the guest asked for when it was refused, in bytes.
    pub(crate) fn refused(&self) -> Option<usize> {
        self.refused
    }
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory {
            self.refused = Some(total);
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.limits.table_elements)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}
