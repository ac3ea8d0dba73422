// SPDX-License-Identifier: GPL-2.0

//! Edges: pairs of consecutive PCs, each recorded once.
//!
//! The memory has a header of [`HEADER`] words, a table, and records. A record is two words: the
//! previous PC, and the PC. The previous PC of the first PC after a reset is 0.
//!
//! The table has the edges that were recorded, as pairs of words, in sets of two. A hook looks at
//! one set. The edge is either there as a whole, or it is recorded, and replaces the older edge of
//! the set. So the table may forget edges, but it never takes one for another.
//!
//! All addresses in the table, and in word [`LAST`], have the number of the [`generation`] in their
//! upper bits. A reset is a store of 0 to [`LAST`], by user space or by the kernel. The next two
//! hooks find that, and start a generation, in which no address in the table is equal to one of
//! theirs. So a reset takes one store, and nothing has to be cleared.
//!
//! The first of these hooks finds a word that is less than [`FAST_CAPACITY`], takes the fast path
//! of plain traces, and writes [`ONE_PC`] to [`LAST`] and its PC to [`FIRST`]. All other hooks find
//! a larger number there, as if the trace were full. This is why an edge that is in the table
//! costs little more than a record of a plain trace.
//!
//! [`generation`]: Edges#structfield.generation

#![expect(unsafe_code)]

use crate::{
    memory::{opaque, Memory, Volatile},
    mode::UNIQUE,
    records::{Kind, Trace, WORD}, //
};
use core::{intrinsics, ptr};

/// The number of words of the header. The table follows, so that its sets are aligned.
pub(crate) const HEADER: usize = 4;

/// The word that decides: 0 after a reset, [`ONE_PC`], or the last PC with the generation.
const LAST: usize = 0;

/// The word for the first PC after a reset, which is in no record as long as [`LAST`] is
/// [`ONE_PC`].
const FIRST: usize = 1;

/// The word for the number of records, which is old if [`LAST`] is 0 or [`ONE_PC`].
const COUNT: usize = 2;

/// The value of [`LAST`] after the first PC.
const ONE_PC: usize = 1;

/// The capacity that a hook in the fast path finds: only [`LAST`] after a reset is less. No other
/// layout has this capacity in the fast path.
pub(crate) const FAST_CAPACITY: usize = 1;

/// An edge in records and in the table: the previous PC, and the PC.
pub(crate) type Edge = [usize; 2];

/// The number of words of an edge.
const EDGE: usize = size_of::<Edge>() / WORD;

/// The number of words of a set of the table: two edges.
const SET: usize = 2 * EDGE;

/// The largest table in words, 1 MiB. It has fewer sets than there are generations.
const MAX_TABLE: usize = 1 << 17;

/// The largest table of an area in words, 64 KiB.
const MAX_AREA_TABLE: usize = 1 << 13;

/// The distance between the addresses of two generations. The bits below tell all addresses of
/// kernel code apart.
const GENERATION: usize = 1 << 48;

/// The header, the table and the records of edges.
///
/// # Invariants
///
/// `start` is null, and `capacity` is 0; or `start` points to a header, a table of `mask` bytes and
/// a set, and space for `capacity` records, of which there is at least one. `records` points to
/// the first record. All of it is valid while the value is used. `mask` is a multiple of the size
/// of a set, and all its other bits below the highest are set.
#[repr(C)]
pub(crate) struct Edges {
    /// The number that is added to the addresses of this generation.
    generation: Volatile<usize>,
    mask: Volatile<usize>,
    records: *mut usize,
    capacity: usize,
    start: *mut usize,
}

impl Edges {
    pub(crate) const fn none() -> Self {
        Self {
            generation: Volatile::new(GENERATION),
            mask: Volatile::new(0),
            records: ptr::null_mut(),
            capacity: 0,
            start: ptr::null_mut(),
        }
    }

    /// Makes a header, a table of `table` words, and records in the rest of `memory`. Returns
    /// `None` if `table` is not a possible size, or leaves no space for a record.
    pub(crate) fn new(memory: Memory, table: usize) -> Option<Self> {
        if !UNIQUE || !(SET..=MAX_TABLE).contains(&table) || !table.is_power_of_two() {
            return None;
        }
        let (_, records) = memory.split_at(HEADER + table)?;
        let capacity = records.words() / EDGE;
        if capacity == 0 {
            return None;
        }
        // INVARIANT: By the invariant of `Memory`.
        Some(Self {
            mask: Volatile::new((table - SET) * WORD),
            records: records.start(),
            capacity,
            start: memory.start(),
            ..Self::none()
        })
    }

    /// Lays out an area: an eighth to a quarter is for the table. Returns `None` if `memory` is too
    /// small.
    pub(crate) fn in_area(memory: Memory) -> Option<Self> {
        let most = (memory.words() / 4).clamp(1, MAX_AREA_TABLE);
        let table = 1_usize << most.ilog2();
        let edges = Self::new(memory, table)?;
        edges.clear_table();
        Some(edges)
    }

    #[inline(always)]
    pub(crate) fn exist(&self) -> bool {
        UNIQUE && !self.start.is_null()
    }

    /// Returns the trace that a hook finds in the fast path.
    pub(crate) fn fast_path(&self) -> Trace {
        // SAFETY: By the type invariants, the words are there.
        let header = unsafe { Memory::new(self.start, 1 + FAST_CAPACITY) };
        Trace::new(Kind::Pc, header)
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &Volatile<usize> {
        // SAFETY: By the type invariant; callers pass numbers of words in the header.
        unsafe { Volatile::at(self.start, index) }
    }

    /// Records the edge from `last`, the content of [`LAST`], to a canonical PC, unless the table
    /// has it. Returns whether the edge did not fit.
    ///
    /// # Safety
    ///
    /// `words` is `self.start`, which is not null.
    #[inline(always)]
    pub(crate) unsafe fn push(
        &self,
        words: *mut usize,
        last: usize,
        pc: usize,
        busy: &Volatile<u32>,
    ) -> bool {
        // SAFETY: By this function's requirement, for all words of the header.
        let word = |index| unsafe { Volatile::at(words, index) };
        let tagged = pc.wrapping_add(self.generation.get());
        word(LAST).set(tagged);
        let offset = self.offset(last, tagged);
        // SAFETY: By this function's requirement.
        if unsafe { self.set_at(words, offset) }.has(last, tagged) {
            return false;
        }
        // Keeps the compiler from making a pointer to the set for both branches.
        let offset = opaque(offset);
        // The interrupted hook is between its look at the count and its record. The interrupt must
        // not leave an edge in the table whose record would be overwritten.
        if busy.get() != 0 {
            word(LAST).set(last);
            return false;
        }
        // ORDERING: Orders against interrupts of this CPU, here and at the end of the function;
        // volatile accesses keep their order.
        busy.set(1);
        let (mut last, mut tagged, mut offset) = (last, tagged, offset);
        if intrinsics::unlikely(last == ONE_PC) {
            let pc = tagged.wrapping_sub(self.generation.get());
            last = self.begin();
            tagged = pc.wrapping_add(self.generation.get());
            word(LAST).set(tagged);
            offset = self.offset(last, tagged);
        }
        let count = word(COUNT).get();
        let fits = count < self.capacity;
        if intrinsics::likely(fits) {
            // SAFETY: As above.
            unsafe { self.set_at(words, offset) }.put(last, tagged);
            word(COUNT).set(count.wrapping_add(1));
            let previous = last.wrapping_sub(self.generation.get());
            let pc = tagged.wrapping_sub(self.generation.get());
            // SAFETY: `count` is less than the capacity.
            unsafe { self.write(count, [previous, pc]) };
        }
        busy.set(0);
        !fits
    }

    /// Returns the offset in bytes of the set of an edge, whose addresses have the generation.
    #[inline(always)]
    fn offset(&self, last: usize, tagged: usize) -> usize {
        // One instruction of x86-64, and the mask another. The bits below the number of the set
        // have no meaning: blocks are rarely that close together.
        last.wrapping_add(tagged.wrapping_mul(8)) & self.mask.get()
    }

    /// Returns the set at an offset in bytes.
    ///
    /// # Safety
    ///
    /// `words` is `self.start`, which is not null. The offset comes from [`Edges::offset`].
    #[inline(always)]
    unsafe fn set_at(&self, words: *mut usize, offset: usize) -> Set<'_> {
        let set = words.wrapping_byte_add(offset).wrapping_add(HEADER).cast();
        // SAFETY: By the type invariant, the set is in the table, and aligned.
        Set(unsafe { &*set })
    }

    /// Starts a generation after a reset and one PC, and records that PC. Returns the PC with the
    /// generation.
    #[inline(always)]
    fn begin(&self) -> usize {
        self.next_generation();
        let first = self.word(FIRST).get();
        self.word(COUNT).set(1);
        // SAFETY: There is space for a record at least.
        unsafe { self.write(0, [0, first]) };
        first.wrapping_add(self.generation.get())
    }

    /// Makes the table forget all edges.
    ///
    /// The numbers of generations begin anew after 65536. Each new one clears a set, so that each
    /// set is cleared before addresses of an old generation are taken for those of a new one.
    #[inline(always)]
    fn next_generation(&self) {
        let next = self.generation.get().wrapping_add(GENERATION);
        self.generation.set(next);
        let number = next / GENERATION;
        let offset = number.wrapping_mul(SET * WORD) & self.mask.get();
        // SAFETY: The offset is one of a set, and the value is the start.
        unsafe { self.set_at(self.start, offset) }.clear();
    }

    /// Writes a record.
    ///
    /// # Safety
    ///
    /// `index` is less than the capacity.
    #[inline(always)]
    unsafe fn write(&self, index: usize, [previous, pc]: Edge) {
        let record = self.records.wrapping_add(index.wrapping_mul(EDGE));
        // SAFETY: By this function's requirement.
        unsafe { Volatile::at(record, 0) }.set(previous);
        // SAFETY: As above.
        unsafe { Volatile::at(record, 1) }.set(pc);
    }

    fn clear_table(&self) {
        let bytes = self.mask.get() + SET * WORD;
        let table = self.start.wrapping_add(HEADER).cast::<u8>();
        // SAFETY: By the type invariant. If user space writes to the table at the same time, user
        // space decides which edges it contains.
        unsafe { table.write_bytes(0, bytes) };
    }

    /// Prepares the memory for a recording, which goes on after the records that are there. What
    /// the table has is unknown, so it is cleared.
    pub(crate) fn prepare(&self) {
        if !self.exist() {
            return;
        }
        self.clear_table();
        let last = self.word(LAST);
        match last.get() {
            0 => return,
            // The PC becomes a record, since the next one does not follow it.
            ONE_PC => {
                self.begin();
            }
            _ => {}
        }
        // The PC before the next one is 0. The first generations have other numbers than 0.
        last.set(self.generation.get());
    }

    /// Returns the number of the generation.
    pub(crate) fn generation(&self) -> usize {
        self.generation.get()
    }

    /// Returns whether a generation goes on, that is, whether a reset of it was undone.
    pub(crate) fn go_on(&self, generation: usize) -> bool {
        self.word(LAST).get() > ONE_PC && self.generation() == generation
    }

    /// Returns the records.
    ///
    /// # Safety
    ///
    /// Nothing writes to the memory while the result lives.
    pub(crate) unsafe fn records(&self) -> &[Edge] {
        if !self.exist() {
            return &[];
        }
        let count = match self.word(LAST).get() {
            0 => 0,
            ONE_PC => {
                // SAFETY: There is space for a record at least.
                unsafe { self.write(0, [0, self.word(FIRST).get()]) };
                1
            }
            _ => self.word(COUNT).get().min(self.capacity),
        };
        // SAFETY: By the type invariant and this function's requirement.
        unsafe { core::slice::from_raw_parts(self.records.cast(), count) }
    }

    /// Returns the number of records to append to, after a reset by user space has been found.
    pub(crate) fn count_to_append(&self) -> usize {
        let last = self.word(LAST);
        if last.get() <= ONE_PC {
            self.next_generation();
            self.word(COUNT).set(0);
            // Any number will do: the hooks do not record here.
            last.set(ONE_PC + 1);
        }
        self.word(COUNT).get().min(self.capacity)
    }

    /// Appends an edge after the first `count` records, unless the table has it. The caller sets
    /// the count.
    pub(crate) fn append(&self, edge: Edge, count: usize) -> Appended {
        let [last, tagged] = edge.map(|pc| pc.wrapping_add(self.generation.get()));
        let offset = self.offset(last, tagged);
        // SAFETY: The arguments are those that the function wants.
        let set = unsafe { self.set_at(self.start, offset) };
        if set.has(last, tagged) {
            return Appended::Known;
        }
        if count >= self.capacity {
            return Appended::Full;
        }
        // SAFETY: `count` is less than the capacity.
        unsafe { self.write(count, edge) };
        set.put(last, tagged);
        Appended::New
    }

    /// Sets the number of records.
    pub(crate) fn set_count(&self, count: usize) {
        self.word(COUNT).set(count);
    }
}

/// The result of [`Edges::append`].
pub(crate) enum Appended {
    Known,
    New,
    Full,
}

/// Two edges of the table.
struct Set<'a>(&'a [Volatile<usize>; SET]);

impl Set<'_> {
    #[inline(always)]
    fn has(&self, last: usize, tagged: usize) -> bool {
        let Self([previous, pc, older_previous, older_pc]) = self;
        // The compiler makes one instruction of a difference, but two of `==`.
        let are = |previous: &Volatile<usize>, pc: &Volatile<usize>| {
            last.wrapping_sub(previous.get()) == 0 && tagged.wrapping_sub(pc.get()) == 0
        };
        are(previous, pc) || are(older_previous, older_pc)
    }

    #[inline(always)]
    fn clear(&self) {
        // No PC is 0.
        for word in self.0 {
            word.set(0);
        }
    }

    /// Puts an edge in place of the older one.
    #[inline(always)]
    fn put(&self, last: usize, tagged: usize) {
        let Self([previous, pc, older_previous, older_pc]) = self;
        older_previous.set(previous.get());
        older_pc.set(pc.get());
        previous.set(last);
        pc.set(tagged);
    }
}
