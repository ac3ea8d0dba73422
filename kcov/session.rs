// SPDX-License-Identifier: GPL-2.0

//! Collection on one task: start, stop, suspend, resume. The only owner of the KCOV fields of
//! `task_struct`.
//!
//! # What the fields mean
//!
//! `kcov_mode`, `kcov_area`, `kcov_capacity` and `kcov_softirq` say what is recorded at this
//! moment, and where, and are all that the hooks look at in the usual case. When there is no room
//! there, which is always so in modes that are not plain, they go on to `kcov_division`. Everything
//! else is for starting and stopping:
//!
//! - `kcov_section` is the innermost remote section that runs on the task. Its header holds what
//!   was recorded before it, which may be another section, and so on. At the bottom is what the
//!   task itself has enabled, or nothing.
//! - `kcov_local` and `kcov_remote` are the descriptors that the task has enabled. Each holds a
//!   reference.
//! - `kcov_handle` is the task's common handle.
//!
//! # Who may touch them
//!
//! The task itself, and softirqs that run on top of it. The fields need no lock for it: a softirq
//! that starts a section stops it before it returns, and puts every field back to exactly what it
//! was. So a softirq may come at any moment, in the middle of a start or a stop too. A mode other
//! than [`mode::DISABLED`] promises that the others are valid, therefore the mode is written last
//! when a collection starts and first when it stops.
//!
//! The scheduler moves the mode to higher bits while it switches tasks, where no hook looks. A
//! softirq may see it there, and leaves it there for the time after it.

#![expect(unsafe_code)]

use crate::{
    arch,
    area::{Area, EndedArea, LentArea},
    context::{self, Context},
    descriptor::Descriptor,
    division::Division,
    mode::{self, Mode},
    records::Recorder,
};
use core::{
    ffi::c_void,
    intrinsics,
    mem,
    ptr::{self, addr_of, addr_of_mut}, //
};
use kernel::{
    bindings,
    sync::Arc,
    types::{ForeignOwnable, NotThreadSafe}, //
};

/// A field of a task. Volatile, because softirqs of the same CPU access it too.
macro_rules! get {
    ($task:expr, $field:ident) => {
        addr_of!((*$task).$field).read_volatile()
    };
}
macro_rules! set {
    ($task:expr, $field:ident, $value:expr) => {
        addr_of_mut!((*$task).$field).write_volatile($value)
    };
}

/// Keeps the compiler from moving accesses across. Enough against code that runs on the same CPU.
#[inline(always)]
fn barrier() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Returns where a hook has to write, if the current context is recorded and the mode word has the
/// bit `wanted`.
///
/// The mode is looked at first: it decides nearly every call.
#[inline(always)]
pub(crate) fn recorder(wanted: u32) -> Option<Recorder<impl Fn() -> &'static Division>> {
    let task = arch::current_task();
    // SAFETY: The current task is valid, and so are its fields.
    unsafe {
        if intrinsics::unlikely(get!(task, kcov_mode) & wanted == 0) {
            return None;
        }
        if !context::recordable(|| get!(task, kcov_softirq) != 0) {
            return None;
        }
        // ORDERING: Against interrupts of this CPU. The loads come after that of the mode, as
        // volatile accesses keep their order; pairs with the barriers in `Paused::drop` and
        // `disarm`.
        let start = get!(task, kcov_area).cast();
        // SAFETY: The mode promises that area, capacity and division are valid, and they stay so
        // until the task disarms itself, or a softirq on top of it has returned.
        Some(Recorder::new(
            start,
            get!(task, kcov_capacity) as usize,
            move || &*get!(task, kcov_division).cast::<Division>(),
        ))
    }
}

/// With PREEMPT_RT, the bits of the preempt count that softirqs use otherwise.
#[cfg(CONFIG_PREEMPT_RT)]
#[inline(always)]
pub(crate) fn softirq_disable_count() -> u32 {
    let task = arch::current_task();
    // SAFETY: The current task is valid.
    unsafe { get!(task, softirq_disable_cnt) as u32 }
}

/// What the hooks look at, as a value.
#[derive(Clone, Copy)]
struct Recording {
    mode: u32,
    softirq: u32,
    capacity: u32,
    area: *mut c_void,
    division: *mut c_void,
    section: *mut c_void,
}

impl Recording {
    const NOTHING: Self = Self {
        mode: mode::DISABLED,
        softirq: 0,
        capacity: 0,
        area: ptr::null_mut(),
        division: ptr::null_mut(),
        section: ptr::null_mut(),
    };

    /// Recording into a division, which is valid until the recording ends.
    fn into_division(mode: Mode, division: &Division) -> Self {
        let (area, capacity) = division.usual(mode);
        Self {
            mode: mode.word(),
            // At most `INT_MAX` bytes are ever used, see `Buffer::new`.
            capacity: capacity as u32,
            area: area.cast(),
            division: ptr::from_ref(division).cast_mut().cast(),
            ..Self::NOTHING
        }
    }

    /// Reads the fields, with `mode` in place of the task's.
    ///
    /// # Safety
    ///
    /// `task` is the current task, and paused.
    unsafe fn read(task: *mut bindings::task_struct, mode: u32) -> Self {
        // SAFETY: The current task is valid.
        unsafe {
            Self {
                mode,
                softirq: get!(task, kcov_softirq),
                capacity: get!(task, kcov_capacity),
                area: get!(task, kcov_area),
                division: get!(task, kcov_division),
                section: get!(task, kcov_section),
            }
        }
    }

    /// Writes all fields but the mode.
    ///
    /// # Safety
    ///
    /// `task` is the current task, and paused, or not running yet.
    unsafe fn write_paused(&self, task: *mut bindings::task_struct) {
        // SAFETY: By this function's requirement.
        unsafe {
            set!(task, kcov_softirq, self.softirq);
            set!(task, kcov_capacity, self.capacity);
            set!(task, kcov_area, self.area);
            set!(task, kcov_division, self.division);
            set!(task, kcov_section, self.section);
        }
    }
}

/// Where a section's records go in the end.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Leads to the descriptor, if it still collects when the section stops.
    pub(crate) handle: u64,
    /// Tells whether it is still the same registration that the handle leads to.
    pub(crate) registration: u64,
    pub(crate) mode: Mode,
    /// How many words of the area are used, the count included.
    pub(crate) words: usize,
}

/// A section that runs on a task. Lives in the header of its area.
pub(crate) struct Section {
    pub(crate) target: Target,
    /// The context that started the section, and has to stop it.
    context: Context,
    /// How many sections inside of this one were started but not recorded, and are still to be
    /// stopped.
    missed: u32,
    outer: Recording,
}

impl Section {
    /// The context that started the section.
    pub(crate) fn context(&self) -> Context {
        self.context
    }
}

/// Nothing is recorded on the current task as long as this lives.
///
/// What is to be recorded after it may be changed through it.
pub(crate) struct Paused {
    task: *mut bindings::task_struct,
    /// The mode to go on with.
    mode: u32,
    _current: NotThreadSafe,
}

/// Stops recording on the current task, in the current context.
pub(crate) fn pause() -> Paused {
    let task = arch::current_task();
    // SAFETY: The current task is valid.
    let mode = unsafe { disarm(task) };
    Paused {
        task,
        mode,
        _current: NotThreadSafe,
    }
}

/// # Safety
///
/// `task` is the current task.
unsafe fn disarm(task: *mut bindings::task_struct) -> u32 {
    // SAFETY: By this function's requirement.
    let mode = unsafe { get!(task, kcov_mode) };
    // SAFETY: As above.
    unsafe { set!(task, kcov_mode, mode::DISABLED) };
    // ORDERING: The mode before the other fields, against interrupts of this CPU; pairs with
    // `recorder`.
    barrier();
    mode
}

impl Drop for Paused {
    fn drop(&mut self) {
        // ORDERING: The other fields before the mode, against interrupts of this CPU; pairs with
        // `recorder`.
        barrier();
        // SAFETY: The task is the current one, as the value does not leave its task.
        unsafe { set!(self.task, kcov_mode, self.mode) };
    }
}

impl Paused {
    /// Starts a section on `area`, on top of what was recorded.
    #[inline(always)]
    pub(crate) fn begin(mut self, mut area: Area, target: Target, context: Context) {
        area.divide(target.mode, target.words);
        // SAFETY: The task is the current one, and paused.
        let outer = unsafe { Recording::read(self.task, self.mode) };
        let lent = area.lend(Section {
            target,
            context,
            missed: 0,
            outer,
        });
        // SAFETY: The division is valid until the area is given back, and the recording ends
        // before.
        let division = unsafe { &*lent.division() };
        let inner = Recording {
            softirq: u32::from(context == Context::Softirq),
            section: lent.as_ptr(),
            ..Recording::into_division(target.mode, division)
        };
        // SAFETY: As above.
        unsafe { inner.write_paused(self.task) };
        // Recording starts with the end of the pause.
        self.mode = inner.mode;
    }

    /// Says whether the task has enabled a descriptor for itself: `descriptor` if one is given, or
    /// any.
    pub(crate) fn has_local(&self, descriptor: Option<&Descriptor>) -> bool {
        // SAFETY: The task is the current one. What the field holds is null, or what `attach_local`
        // stored.
        unsafe { is(get!(self.task, kcov_local), descriptor) }
    }

    /// Says the same of remote sections.
    pub(crate) fn has_remote(&self, descriptor: Option<&Descriptor>) -> bool {
        // SAFETY: As above, with `attach_remote`.
        unsafe { is(get!(self.task, kcov_remote), descriptor) }
    }

    /// Lets the task record into `division` from the end of the pause on.
    ///
    /// # Safety
    ///
    /// The division stays valid until [`Paused::detach_local`] has been called for `descriptor`.
    pub(crate) unsafe fn attach_local(
        &mut self,
        descriptor: Arc<Descriptor>,
        division: &Division,
        mode: Mode,
    ) {
        self.set_bottom(Recording::into_division(mode, division));
        // SAFETY: The task is the current one.
        unsafe { set!(self.task, kcov_local, descriptor.into_foreign()) };
    }

    /// Undoes [`Paused::attach_local`] if it was called for `descriptor`, or for any if that is not
    /// given.
    pub(crate) fn detach_local(
        &mut self,
        descriptor: Option<&Descriptor>,
    ) -> Option<Arc<Descriptor>> {
        // SAFETY: The task is the current one.
        let attached = unsafe { get!(self.task, kcov_local) };
        // SAFETY: What the field holds is null, or what `attach_local` or `attach_remote` stored.
        if !unsafe { is(attached, descriptor) } {
            return None;
        }
        self.set_bottom(Recording::NOTHING);
        // SAFETY: As above.
        unsafe { set!(self.task, kcov_local, ptr::null_mut()) };
        // SAFETY: `attach_local` stored it, and it has just been removed.
        Some(unsafe { Arc::from_foreign(attached) })
    }

    /// Notes that the task has enabled `descriptor` for remote sections, with a common handle if
    /// that is not 0.
    pub(crate) fn attach_remote(&mut self, descriptor: Arc<Descriptor>, common_handle: u64) {
        // SAFETY: The task is the current one.
        unsafe {
            set!(self.task, kcov_remote, descriptor.into_foreign());
            if common_handle != 0 {
                set!(self.task, kcov_handle, common_handle);
            }
        }
    }

    /// Undoes [`Paused::attach_remote`] if it was called for `descriptor`, or for any if that is
    /// not given.
    pub(crate) fn detach_remote(
        &mut self,
        descriptor: Option<&Descriptor>,
    ) -> Option<Arc<Descriptor>> {
        // SAFETY: The task is the current one.
        let attached = unsafe { get!(self.task, kcov_remote) };
        // SAFETY: What the field holds is null, or what `attach_local` or `attach_remote` stored.
        if !unsafe { is(attached, descriptor) } {
            return None;
        }
        // SAFETY: As above.
        unsafe {
            set!(self.task, kcov_remote, ptr::null_mut());
            set!(self.task, kcov_handle, 0);
        }
        // SAFETY: `attach_remote` stored it, and it has just been removed.
        Some(unsafe { Arc::from_foreign(attached) })
    }

    /// Ends the innermost section, whichever context it belongs to.
    #[inline(always)]
    pub(crate) fn unwind(&mut self) -> Option<EndedArea> {
        // SAFETY: The task is the current one, and paused. Nobody refers to the section after
        // `pop`.
        let area = unsafe { pop(self.task) }?;
        self.mode = area.section().outer.mode;
        Some(area)
    }

    /// Changes what is recorded while no section runs.
    fn set_bottom(&mut self, recording: Recording) {
        // SAFETY: The task is the current one, and paused. Each section is looked at by this loop
        // only.
        unsafe {
            let mut next = LentArea::from_ptr(get!(self.task, kcov_section));
            let Some(mut lent) = next else {
                recording.write_paused(self.task);
                self.mode = recording.mode;
                return;
            };
            while let Some(outer) = next {
                lent = outer;
                next = LentArea::from_ptr(outer.section().outer.section);
            }
            lent.section().outer = recording;
        }
    }
}

/// Says whether `attached` is a descriptor, and the given one if one is given.
///
/// # Safety
///
/// `attached` is null, or comes from `Arc::into_foreign` and is still owned by the task.
unsafe fn is(attached: *mut c_void, descriptor: Option<&Descriptor>) -> bool {
    if attached.is_null() {
        return false;
    }
    // SAFETY: By this function's requirement.
    let attached = unsafe { <Arc<Descriptor> as ForeignOwnable>::borrow(attached) };
    descriptor.is_none_or(|descriptor| ptr::eq(&*attached, descriptor))
}

/// What there was to stop.
pub(crate) enum Stopped {
    /// No section runs on the task: the start found nobody who collects.
    Nothing,
    /// As above, but there is a section around it, which goes on.
    Missed,
    /// The innermost section was started in another context.
    Foreign,
    /// A section. What it interrupted goes on with the end of the pause.
    Section(EndedArea, Paused),
}

/// Notes that a section starts that is not recorded, so that its stop can be told from that of the
/// one around.
#[inline(always)]
pub(crate) fn miss() {
    // SAFETY: The current task is valid, and refers to the section only in this function.
    unsafe {
        if let Some(lent) = LentArea::from_ptr(get!(arch::current_task(), kcov_section)) {
            let section = lent.section();
            section.missed = section.missed.wrapping_add(1);
        }
    }
}

/// Stops what was started last in the current context.
#[inline(always)]
pub(crate) fn stop(context: Context) -> Stopped {
    let task = arch::current_task();
    // SAFETY: The current task is valid, and refers to the section only in this block.
    unsafe {
        let Some(lent) = LentArea::from_ptr(get!(task, kcov_section)) else {
            return Stopped::Nothing;
        };
        let section = lent.section();
        if section.missed > 0 {
            section.missed = section.missed.wrapping_sub(1);
            return Stopped::Missed;
        }
        if section.context != context {
            return Stopped::Foreign;
        }
    }
    let mut paused = pause();
    match paused.unwind() {
        Some(area) => Stopped::Section(area, paused),
        None => Stopped::Nothing,
    }
}

/// # Safety
///
/// `task` is the current task, and paused; nobody holds a reference to its innermost section.
#[inline(always)]
unsafe fn pop(task: *mut bindings::task_struct) -> Option<EndedArea> {
    // SAFETY: By this function's requirements. The fields no longer refer to the section when it is
    // used again.
    unsafe {
        let lent = LentArea::from_ptr(get!(task, kcov_section))?;
        let outer = lent.section().outer;
        outer.write_paused(task);
        Some(lent.give_back())
    }
}

/// Returns the common handle of the current task.
pub(crate) fn common_handle() -> u64 {
    // SAFETY: The current task is valid.
    unsafe { get!(arch::current_task(), kcov_handle) }
}

/// Prepares the fields of a new task, of which only the common handle is inherited.
///
/// # Safety
///
/// `task` is a copy of the current task, and does not run yet.
pub(crate) unsafe fn init_task(task: *mut bindings::task_struct) {
    // SAFETY: By this function's requirement.
    unsafe {
        set!(task, kcov_mode, mode::DISABLED);
        Recording::NOTHING.write_paused(task);
        set!(task, kcov_local, ptr::null_mut());
        set!(task, kcov_remote, ptr::null_mut());
        set!(task, kcov_handle, common_handle());
    }
}

/// Records PCs of the current task into `area` while `body` runs, no matter what was recorded
/// before.
///
/// For the self test at boot.
#[cfg(CONFIG_KCOV_SELFTEST)]
pub(crate) fn probe(area: &mut Area, body: impl FnOnce()) {
    let mut paused = pause();
    area.divide(Mode::Pc, area.words());
    let recording = Recording::into_division(Mode::Pc, area.division());
    // SAFETY: The task is the current one, and paused.
    let outer = unsafe { Recording::read(paused.task, paused.mode) };
    // SAFETY: As above. The area outlives the recording.
    unsafe { recording.write_paused(paused.task) };
    paused.mode = recording.mode;
    drop(paused);
    body();
    let mut paused = pause();
    // SAFETY: As above.
    unsafe { outer.write_paused(paused.task) };
    paused.mode = outer.mode;
}

/// The size of what a task needs for KCOV is what it costs every task of the system.
const _: () = assert!(mem::size_of::<Recording>() <= 40);
