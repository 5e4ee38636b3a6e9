//! Where a plugin's allocations live.
//!
//! An instance lives for one call, and most calls need a few kilobytes. The allocator of the standard library asks for more
//! linear memory at its first allocation; growing it, and taking that back for the next call, costs the host more than
//! such a call itself. So the component brings an arena along within its initial memory: blocks are taken from it one
//! behind the other, only the last one is ever given back, and what does not fit goes to the standard library's
//! allocator.
//!
//! What it must **never** do: hand out a block twice, or take a block for its own that is not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

/// The size of a component's arena, in bytes: no more than the host keeps in place between two calls.
#[cfg(target_arch = "wasm32")]
const SIZE: usize = 48 << 10;

// A crate that brings an allocator of its own turns the feature off.
#[cfg(all(target_arch = "wasm32", feature = "arena"))]
#[global_allocator]
static ARENA: Arena<SIZE> = Arena::new();

/// Blocks one behind the other, and the standard library's allocator for what does not fit.
#[repr(C, align(16))]
pub(crate) struct Arena<const SIZE: usize> {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
}

#[expect(unsafe_code, reason = "an allocator is shared by its nature; a component has one thread")]
#[cfg(target_arch = "wasm32")]
unsafe impl<const SIZE: usize> Sync for Arena<SIZE> {}

impl<const SIZE: usize> Arena<SIZE> {
    pub(crate) const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; SIZE]), used: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Where a block begins within the arena, if it is one of its own.
    fn offset(&self, block: *const u8) -> Option<usize> {
        block.addr().checked_sub(self.start().addr()).filter(|offset| *offset < SIZE)
    }

    /// Room for a block behind all others.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let start = self.start().addr();
        let begin = (start + self.used.get()).checked_next_multiple_of(layout.align())? - start;
        let end = begin.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
        self.used.set(end);
        Some(self.start().wrapping_add(begin))
    }
}

// Blocks do not overlap: each begins where `used` was or behind it, and `used` goes back only to the beginning of a block
// that ends there and is given back. A block of size zero is never asked for.
#[expect(unsafe_code, reason = "an allocator hands out memory by its address")]
unsafe impl<const SIZE: usize> GlobalAlloc for Arena<SIZE> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => block,
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(offset) if offset + layout.size() == self.used.get() => self.used.set(offset),
            Some(_) => {}
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else { return unsafe { System.realloc(block, layout, size) } };
        let end = offset.saturating_add(size);
        if offset + layout.size() == self.used.get() && end <= SIZE {
            self.used.set(end);
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // The alignment was right before, and a size that is too large for it is refused by the caller's contract.
        let Ok(larger) = Layout::from_size_align(size, layout.align()) else { return std::ptr::null_mut() };
        let new = unsafe { self.alloc(larger) };
        if !new.is_null() {
            unsafe { std::ptr::copy_nonoverlapping(block, new, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// A block that is filled with its own number, so that a neighbour that reaches into it is found out.
    struct Block {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    #[expect(unsafe_code, reason = "the allocator is used as the compiler would use it")]
    impl Block {
        fn fill(&self) {
            unsafe { std::ptr::write_bytes(self.at, self.mark, self.layout.size()) };
        }

        fn check(&self, size: usize) {
            let bytes = unsafe { std::slice::from_raw_parts(self.at, size) };
            assert!(bytes.iter().all(|byte| *byte == self.mark), "a block of {:?} was written to", self.layout);
        }
    }

    /// Thousands of blocks of all sizes, in an order that is the same every time: taken, grown, shrunk, given back.
    #[expect(unsafe_code, reason = "the allocator is used as the compiler would use it")]
    #[test]
    fn no_block_reaches_into_another() {
        let mut dice = 0x2545_f491_u32;
        let mut roll = |below: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 17;
            dice ^= dice << 5;
            dice as usize % below
        };
        let (mut own, mut others) = (0, 0);
        for _ in 0..300 {
            let arena = Arena::<4096>::new();
            let mut blocks: Vec<Block> = Vec::new();
            for turn in 0..100_u8 {
                match roll(4) {
                    0 | 1 => {
                        let layout = layout(1 + roll(200), 1 << roll(5));
                        let at = unsafe { arena.alloc(layout) };
                        assert!(!at.is_null() && at.addr().is_multiple_of(layout.align()));
                        *if arena.offset(at).is_some() { &mut own } else { &mut others } += 1;
                        let block = Block { at, layout, mark: turn };
                        block.fill();
                        blocks.push(block);
                    }
                    2 if !blocks.is_empty() => {
                        let which = if roll(2) == 0 { blocks.len() - 1 } else { roll(blocks.len()) };
                        let block = blocks.remove(which);
                        block.check(block.layout.size());
                        unsafe { arena.dealloc(block.at, block.layout) };
                    }
                    3 if !blocks.is_empty() => {
                        let which = roll(blocks.len());
                        let block = &mut blocks[which];
                        let size = 1 + roll(300);
                        block.at = unsafe { arena.realloc(block.at, block.layout, size) };
                        block.check(size.min(block.layout.size()));
                        block.layout = layout(size, block.layout.align());
                        block.fill();
                    }
                    _ => {}
                }
            }
            for block in blocks {
                block.check(block.layout.size());
                unsafe { arena.dealloc(block.at, block.layout) };
            }
        }
        assert!(own > 1000 && others > 1000, "both were to be tried: {own} within, {others} without");
    }

    #[expect(unsafe_code, reason = "the allocator is used as the compiler would use it")]
    #[test]
    fn the_last_block_grows_where_it_is_and_is_given_back() {
        let arena = Arena::<64>::new();
        let first = unsafe { arena.alloc(layout(16, 8)) };
        let grown = unsafe { arena.realloc(first, layout(16, 8), 64) };
        assert_eq!(first, grown);
        assert!(arena.take(layout(1, 1)).is_none());
        unsafe { arena.dealloc(grown, layout(64, 8)) };
        assert_eq!(unsafe { arena.alloc(layout(64, 8)) }, first);
        // What does not fit any more moves, with what is in it.
        unsafe { first.write_bytes(7, 64) };
        let moved = unsafe { arena.realloc(first, layout(64, 8), 100) };
        assert_eq!(arena.offset(moved), None);
        assert_eq!(unsafe { std::slice::from_raw_parts(moved, 64) }, [7; 64]);
        unsafe { arena.dealloc(moved, layout(100, 8)) };
    }
}
