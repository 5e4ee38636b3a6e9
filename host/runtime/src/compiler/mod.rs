//! Compilation: in a child process, and only there.
//!
//! A component is compiled before anything of it runs, and nothing bounds what that costs: 600 KB of WebAssembly can take
//! 2.6 s and 800 MB. So a child compiles, under limits that it puts on itself before it reads a byte: address space,
//! processor time, no new files, no core dump, no new privileges, an empty environment, no descriptor but its standard
//! three. The parent bounds what it reads and ends the child at the wall limit.
//!
//! Stops: a plugin that exhausts the host by being compiled, and one that makes use of an error in the compiler, as far
//! as the child's limits go (it runs as the same user).
//!
//! The child is a program that calls [`serve_if_asked`] first thing in its `main`; the product is its own.

mod child;
mod parent;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use child::serve_if_asked;

/// The hidden argument that asks a program to compile.
const ASK: &str = "__basb-compile";

/// What the child's answer begins with, so that another program's output is never taken for code.
const MAGIC: &[u8; 8] = b"BASBCODE";

/// The most threads that one compilation uses.
const MOST_THREADS: usize = 4;

/// The bounds of one compilation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the child, in bytes.
    pub memory: u64,
    /// Processor time of the child, all threads together; whole seconds, at least one.
    pub cpu: Duration,
    /// From the start of the child to its end.
    pub wall: Duration,
    /// The largest code, in bytes.
    pub output: usize,
}

/// Up to this size the limits of time hold as they are; a larger component has as much more processor time as it is larger.
/// Languages that bring their interpreter along make components of 10 to 20 MiB.
const ORDINARY: usize = 4 << 20;

/// How much longer than its processor time a large component may take: the machine may be busy with other work.
const BUSY: u32 = 3;

impl CompileLimits {
    /// The bounds for a component of this size.
    #[must_use]
    pub fn for_size(&self, bytes: usize) -> Self {
        let longer = |limit: Duration| {
            let millis = limit.as_millis().saturating_mul(bytes.max(ORDINARY) as u128) / ORDINARY as u128;
            // Whole seconds: the child's limit of processor time knows nothing finer.
            Duration::from_secs(u64::try_from(millis.div_ceil(1000)).unwrap_or(u64::MAX)).max(limit)
        };
        if bytes <= ORDINARY {
            return self.clone();
        }
        Self { cpu: longer(self.cpu), wall: longer(self.wall).saturating_mul(BUSY), ..self.clone() }
    }
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory: 2 << 30, cpu: Duration::from_mins(1), wall: Duration::from_mins(1), output: 256 << 20 }
    }
}

/// Who compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// A program that calls [`serve_if_asked`].
    pub program: PathBuf,
    /// What it is started with; it finds the limits after these.
    pub args: Vec<OsString>,
    /// The bounds of each compilation.
    pub limits: CompileLimits,
}

impl Compiler {
    /// This program once more. Its `main` must begin with [`serve_if_asked`].
    #[must_use]
    pub fn this_program() -> Self {
        // By this name the child finds the very file that runs here, even after an update has put another one in its
        // place; where there is no such name, the path has to do.
        let own = PathBuf::from("/proc/self/exe");
        Self::at(if own.exists() { own } else { std::env::current_exe().unwrap_or(own) })
    }

    /// Another program that calls [`serve_if_asked`].
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: vec![ASK.into()], limits: CompileLimits::default() }
    }

    /// The same under other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: CompileLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It takes more memory than a compilation may.
    #[error("it needs more than {} to compile", size(*limit))]
    Memory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It takes longer than a compilation may.
    #[error("it took more than {} s to compile", limit.as_secs_f64())]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// The code is too large.
    #[error("it compiles to more than {}", size(*limit as u64))]
    Output {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The compiler's own message: the component is not valid, or uses what this host does not offer.
    #[error("{0}")]
    Invalid(String),
    /// The compiler itself came to grief; what it wrote.
    #[error("the compiler failed: {0}")]
    Crashed(String),
    /// The compiler cannot be run.
    #[error("the compiler `{}` cannot be run: {why}", program.display())]
    Unavailable {
        /// The program.
        program: PathBuf,
        /// Why.
        why: String,
    },
}

impl CompileError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Memory { .. } | Self::Time { .. } | Self::Output { .. } | Self::Invalid(_) => "plugin/compile",
            Self::Crashed(_) | Self::Unavailable { .. } => "host/compiler",
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Runs compilations: as many at once as the machine has processors, the others wait.
#[derive(Debug)]
pub(crate) struct Compilers {
    compiler: Compiler,
    running: Mutex<usize>,
    done: Condvar,
    most: usize,
}

impl Compilers {
    pub(crate) fn new(compiler: Compiler) -> Self {
        let most = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { compiler, running: Mutex::new(0), done: Condvar::new(), most }
    }

    /// Compiles a component. Blocks.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let place = self.place();
        let limits = self.compiler.limits.for_size(wasm.len());
        parent::compile(&self.compiler.clone().with_limits(limits), wasm, place.threads)
    }

    fn place(&self) -> Place<'_> {
        let mut running = self.running();
        while *running >= self.most {
            running = self.done.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        // Whoever comes while others are at work shares the processors with them.
        let threads = (self.most / *running).clamp(1, MOST_THREADS);
        Place { all: self, threads }
    }

    fn running(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A compilation that may run.
struct Place<'a> {
    all: &'a Compilers,
    threads: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.all.running() -= 1;
        self.all.done.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_component_has_as_much_more_time_as_it_is_larger() {
        let limits = CompileLimits::default();
        for bytes in [0, 600 << 10, 4 << 20] {
            assert_eq!(limits.for_size(bytes), limits, "{bytes}");
        }
        let large = limits.for_size(18 << 20);
        assert_eq!((large.cpu, large.wall), (Duration::from_secs(270), Duration::from_secs(810)));
        assert_eq!((large.memory, large.output), (limits.memory, limits.output));
        let tight = CompileLimits { cpu: Duration::from_secs(1), wall: Duration::from_millis(10), ..limits };
        assert_eq!(tight.for_size(6 << 20).cpu, Duration::from_secs(2));
        assert_eq!(tight.for_size(100).wall, Duration::from_millis(10));
    }
}
