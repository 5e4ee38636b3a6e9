//! The one place where wasmtime is configured.
//!
//! What changes the compiled code (features, determinism, the size of a memory's reservation) is the same for every
//! engine of this host, so that all of them share one cache; only the size of the pool differs.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The largest linear memory of a plugin, in bytes.
pub const MAX_MEMORY: usize = 64 << 20;

/// The most core instances of one component.
pub(crate) const MAX_CORE_INSTANCES: u32 = 100;

/// How many instances can be alive at once. A slot costs address space (4 GiB) and some bytes of bookkeeping, not
/// memory; a call that finds no free slot waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize(u32);

impl PoolSize {
    /// Enough for a command on one deployment.
    pub const SMALL: Self = Self(64);

    /// Room for so many instances; at least one.
    ///
    /// Beyond about 10,900 the default `vm.max_map_count` (65,530) is reached: six mappings an instance.
    #[must_use]
    pub fn instances(count: u32) -> Self {
        Self(count.max(1))
    }

    /// How many.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0
    }
}

/// An engine with room for so many instances. It runs code; the product never compiles with it.
///
/// # Errors
/// When the machine cannot reserve the address space, or cannot run compiled code at all.
pub fn engine(pool: PoolSize) -> wasmtime::Result<Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
    Engine::new(&config)
}

/// An engine that only compiles: what it makes is the same, but it reserves nothing.
pub(crate) fn compiling(threads: usize) -> wasmtime::Result<Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand).parallel_compilation(threads > 1);
    Engine::new(&config)
}

/// Everything that changes the code.
fn config() -> Config {
    let mut config = Config::new();
    config
        // Interruption: a guest that never calls the host yields at every tick (see `ticker`).
        .epoch_interruption(true)
        // Plain functions only, three times faster to call; WASI 0.3 would need it.
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        // The memories of a trapped guest hold its panic message (see `panic`).
        .coredump_on_trap(true)
        // Determinism: the same inputs give the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Features that no released language tool needs for a component are off: less to trust.
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        // Four GiB of address space for each memory: no access needs a check in the code then, which makes it a quarter
        // smaller and as much quicker to compile and to load.
        .memory_reservation(4 << 30)
        .memory_may_move(false)
        // Offsets within a function, which nobody reads; the names of functions stay.
        .generate_address_map(false);
    config
}

fn pooling(pool: PoolSize) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    let count = pool.count();
    pooling
        .total_component_instances(count)
        // A component of Rust's standard library has a main module, a shim and a fix-up; one that is linked from shared
        // libraries, as Python's are, has one for each library and for each adapter. A number here costs nothing: only
        // memories and tables have slots. Whoever has a slot for a component must not fail for want of an instance.
        .total_core_instances(count.saturating_mul(MAX_CORE_INSTANCES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .total_memories(count.saturating_add(count / 4))
        .max_memories_per_component(4)
        .total_tables(count.saturating_mul(4))
        .max_tables_per_component(20)
        .table_elements(20_000)
        .total_stacks(count)
        .max_memory_size(MAX_MEMORY)
        // What a small plugin touches is cleared in place: cheaper than giving the pages back and faulting them in.
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(4 << 10)
        .pagemap_scan(Enabled::Auto);
    pooling
}

/// How much of a memory is kept between two calls, in bytes.
const KEEP_RESIDENT: usize = 64 << 10;
