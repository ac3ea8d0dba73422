// SPDX-License-Identifier: GPL-2.0

//! Collection on one task: start, stop, suspend, resume. The only owner of the KCOV fields of
//! `task_struct`.
//!
//! # What the fields mean
//!
//! They are one `struct kcov_ctx`. `mode`, `area`, `capacity` and `softirq` say what is recorded at
//! this moment, and where, and are all that the hooks look at in the usual case. When a record does
//! not fit there, which is always so in modes that are not plain, the hooks go on to `layout`.
//! Everything else is for starting and stopping:
//!
//! - `section` is the innermost remote section that runs on the task. Its header holds what was
//!   recorded before it, which may be another section, and so on. At the bottom is what the task
//!   itself has enabled, or nothing.
//! - `local` and `remote` are the descriptors that the task has enabled. Each holds a reference.
//! - `handle` is the task's common handle.
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
    layout::Layout,
    mode::{self, Mode},
    offsets,
    recording::{Recording, Section, Target},
    records::Recorder,
};
use core::{
    ffi::c_void,
    intrinsics,
    ptr::{self, addr_of, addr_of_mut}, //
};
use kernel::{
    bindings,
    sync::Arc,
    types::{ForeignOwnable, NotThreadSafe}, //
};

/// A field of a task's `struct kcov_ctx`. Volatile, because softirqs of the same CPU access it too.
macro_rules! get {
    ($ctx:expr, $field:ident) => {
        addr_of!((*$ctx).$field).read_volatile()
    };
}
macro_rules! set {
    ($ctx:expr, $field:ident, $value:expr) => {
        addr_of_mut!((*$ctx).$field).write_volatile($value)
    };
}

/// Returns the fields of a task.
#[inline(always)]
fn ctx_of(task: *mut bindings::task_struct) -> *mut bindings::kcov_ctx {
    // Where C has them: Rust's idea of a task may be wrong.
    task.wrapping_byte_add(offsets::TASK_KCOV_CTX).cast()
}

/// Returns the fields of the current task.
#[inline(always)]
fn current_ctx() -> *mut bindings::kcov_ctx {
    ctx_of(arch::current_task())
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
pub(crate) fn recorder(wanted: u32) -> Option<Recorder<impl Fn() -> &'static Layout>> {
    let ctx = current_ctx();
    // SAFETY: The current task is valid, and so are its fields.
    unsafe {
        if intrinsics::unlikely(get!(ctx, mode) & wanted == 0) {
            return None;
        }
        if !context::recordable(|| get!(ctx, softirq) != 0) {
            return None;
        }
        // ORDERING: Against interrupts of this CPU. The loads come after that of the mode, as
        // volatile accesses keep their order; pairs with the barriers in `Paused::drop` and
        // `disarm`.
        let start = get!(ctx, area).cast();
        // SAFETY: The mode promises that area, capacity and layout are valid, and they stay so
        // until the task disarms itself, or a softirq on top of it has returned.
        Some(Recorder::new(
            start,
            get!(ctx, capacity) as usize,
            move || &*get!(ctx, layout).cast::<Layout>(),
        ))
    }
}

impl Recording {
    /// Reads the fields, with `mode` in place of the task's.
    ///
    /// # Safety
    ///
    /// `ctx` is that of the current task, which is paused.
    unsafe fn read(ctx: *mut bindings::kcov_ctx, mode: u32) -> Self {
        // SAFETY: The current task is valid.
        unsafe {
            Self {
                mode,
                softirq: get!(ctx, softirq),
                capacity: get!(ctx, capacity),
                area: get!(ctx, area).cast(),
                layout: get!(ctx, layout).cast(),
                section: get!(ctx, section),
            }
        }
    }

    /// Writes all fields but the mode.
    ///
    /// # Safety
    ///
    /// `ctx` is that of the current task, which is paused, or of a task that does not run yet.
    unsafe fn write_paused(&self, ctx: *mut bindings::kcov_ctx) {
        // SAFETY: By this function's requirement.
        unsafe {
            set!(ctx, softirq, self.softirq);
            set!(ctx, capacity, self.capacity);
            set!(ctx, area, self.area.cast());
            set!(ctx, layout, self.layout.cast_mut().cast());
            set!(ctx, section, self.section);
        }
    }
}

/// Returns the innermost section of a task.
///
/// # Safety
///
/// `ctx` is that of the current task.
#[inline(always)]
unsafe fn innermost(ctx: *mut bindings::kcov_ctx) -> Option<LentArea> {
    // ORDERING: The section's header is read through the pointer. Pairs with the barrier in
    // `Paused::begin`, against interrupts of this CPU.
    //
    // SAFETY: By this function's requirement. The field is null, or was stored by
    // `Paused::begin`; a section leaves the field before its area is given back.
    unsafe { LentArea::from_ptr(get!(ctx, section)) }
}

/// Nothing is recorded on the current task as long as this lives.
///
/// What is to be recorded after it may be changed through it.
pub(crate) struct Paused {
    /// The fields of the current task.
    ctx: *mut bindings::kcov_ctx,
    /// The mode to go on with.
    mode: u32,
    _current: NotThreadSafe,
}

/// Stops recording on the current task, in the current context.
pub(crate) fn pause() -> Paused {
    let ctx = current_ctx();
    // SAFETY: The current task is valid.
    let mode = unsafe { disarm(ctx) };
    Paused {
        ctx,
        mode,
        _current: NotThreadSafe,
    }
}

/// # Safety
///
/// `ctx` is that of the current task.
unsafe fn disarm(ctx: *mut bindings::kcov_ctx) -> u32 {
    // SAFETY: By this function's requirement.
    let mode = unsafe { get!(ctx, mode) };
    // SAFETY: As above.
    unsafe { set!(ctx, mode, mode::DISABLED) };
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
        unsafe { set!(self.ctx, mode, self.mode) };
    }
}

impl Paused {
    /// Starts a section on `area`, on top of what was recorded.
    #[inline(always)]
    pub(crate) fn begin(mut self, mut area: Area, target: Target, context: Context) {
        area.lay_out(target.mode, target.words);
        // SAFETY: The task is the current one, and paused.
        let outer = unsafe { Recording::read(self.ctx, self.mode) };
        let lent = area.lend(Section::new(target, context, outer));
        // SAFETY: The layout is valid until the area is given back, and the recording ends
        // before.
        let layout = unsafe { &*lent.layout() };
        let inner = Recording {
            softirq: u32::from(context == Context::Softirq),
            section: lent.as_ptr(),
            ..Recording::into_layout(target.mode, layout)
        };
        // ORDERING: The header before the pointer to it, which a softirq may follow as soon as it
        // is stored. Against interrupts of this CPU; pairs with the load in `innermost`.
        barrier();
        // SAFETY: As above.
        unsafe { inner.write_paused(self.ctx) };
        // Recording starts with the end of the pause.
        self.mode = inner.mode;
    }

    /// Says whether the task has enabled a descriptor for itself: `descriptor` if one is given, or
    /// any.
    pub(crate) fn has_local(&self, descriptor: Option<&Descriptor>) -> bool {
        // SAFETY: The task is the current one. What the field holds is null, or what `attach_local`
        // stored.
        unsafe { is(get!(self.ctx, local), descriptor) }
    }

    /// Says the same of remote sections.
    pub(crate) fn has_remote(&self, descriptor: Option<&Descriptor>) -> bool {
        // SAFETY: As above, with `attach_remote`.
        unsafe { is(get!(self.ctx, remote), descriptor) }
    }

    /// Lets the task record into `layout` from the end of the pause on.
    ///
    /// # Safety
    ///
    /// The layout stays valid until [`Paused::detach_local`] has been called for `descriptor`.
    pub(crate) unsafe fn attach_local(
        &mut self,
        descriptor: Arc<Descriptor>,
        layout: &Layout,
        mode: Mode,
    ) {
        self.set_bottom(Recording::into_layout(mode, layout));
        // SAFETY: The task is the current one.
        unsafe { set!(self.ctx, local, descriptor.into_foreign()) };
    }

    /// Undoes [`Paused::attach_local`] if it was called for `descriptor`, or for any if that is not
    /// given.
    pub(crate) fn detach_local(
        &mut self,
        descriptor: Option<&Descriptor>,
    ) -> Option<Arc<Descriptor>> {
        // SAFETY: The task is the current one.
        let attached = unsafe { get!(self.ctx, local) };
        // SAFETY: What the field holds is null, or what `attach_local` or `attach_remote` stored.
        if !unsafe { is(attached, descriptor) } {
            return None;
        }
        self.set_bottom(Recording::NOTHING);
        // SAFETY: As above.
        unsafe { set!(self.ctx, local, ptr::null_mut()) };
        // SAFETY: `attach_local` stored it, and it has just been removed.
        Some(unsafe { Arc::from_foreign(attached) })
    }

    /// Notes that the task has enabled `descriptor` for remote sections, with a common handle if
    /// that is not 0.
    pub(crate) fn attach_remote(&mut self, descriptor: Arc<Descriptor>, common_handle: u64) {
        // SAFETY: The task is the current one.
        unsafe {
            set!(self.ctx, remote, descriptor.into_foreign());
            if common_handle != 0 {
                set!(self.ctx, handle, common_handle);
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
        let attached = unsafe { get!(self.ctx, remote) };
        // SAFETY: What the field holds is null, or what `attach_local` or `attach_remote` stored.
        if !unsafe { is(attached, descriptor) } {
            return None;
        }
        // SAFETY: As above.
        unsafe {
            set!(self.ctx, remote, ptr::null_mut());
            set!(self.ctx, handle, 0);
        }
        // SAFETY: `attach_remote` stored it, and it has just been removed.
        Some(unsafe { Arc::from_foreign(attached) })
    }

    /// Ends the innermost section, whichever context it belongs to.
    #[inline(always)]
    pub(crate) fn unwind(&mut self) -> Option<EndedArea> {
        // SAFETY: The task is the current one, and paused. Nobody refers to the section after
        // `pop`.
        let area = unsafe { pop(self.ctx) }?;
        self.mode = area.section().outer().mode;
        Some(area)
    }

    /// Changes what is recorded while no section runs.
    fn set_bottom(&mut self, recording: Recording) {
        // SAFETY: The task is the current one.
        let mut next = unsafe { innermost(self.ctx) };
        if next.is_none() {
            // SAFETY: As above, and it is paused.
            unsafe { recording.write_paused(self.ctx) };
            self.mode = recording.mode;
        }
        while let Some(lent) = next {
            // SAFETY: The section runs on the current task, and does not end here.
            let section = unsafe { lent.section() };
            // SAFETY: What `outer` holds was read from the task, where `innermost` would have found
            // it.
            next = unsafe { LentArea::from_ptr(section.outer().section) };
            if next.is_none() {
                section.set_outer(recording);
            }
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

/// Counts a start that is not recorded, so that its stop does not end the enclosing section.
#[inline(always)]
pub(crate) fn miss(context: Context) {
    // SAFETY: The current task is valid. The section does not end here.
    unsafe {
        if let Some(lent) = innermost(current_ctx()) {
            lent.section().add_miss(context);
        }
    }
}

/// Stops what was started last in the current context.
#[inline(always)]
pub(crate) fn stop(context: Context) -> Stopped {
    // SAFETY: The current task is valid. The section does not end in this block.
    unsafe {
        let Some(lent) = innermost(current_ctx()) else {
            return Stopped::Nothing;
        };
        let section = lent.section();
        if section.take_miss(context) {
            return Stopped::Missed;
        }
        if section.context() != context {
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
/// `ctx` is that of the current task, which is paused; there is no reference to its innermost
/// section.
#[inline(always)]
unsafe fn pop(ctx: *mut bindings::kcov_ctx) -> Option<EndedArea> {
    // SAFETY: By this function's requirements.
    let lent = unsafe { innermost(ctx) }?;
    // SAFETY: As above.
    let outer = unsafe { lent.section() }.outer();
    // SAFETY: As above.
    unsafe { outer.write_paused(ctx) };
    // SAFETY: The fields no longer refer to the section, and softirqs that found it there have
    // returned.
    Some(unsafe { lent.give_back() })
}

/// Returns the common handle of the current task.
pub(crate) fn common_handle() -> u64 {
    // SAFETY: The current task is valid.
    unsafe { get!(current_ctx(), handle) }
}

/// Prepares the fields of a new task, of which only the common handle is inherited.
///
/// # Safety
///
/// `task` is a copy of the current task, and does not run yet.
pub(crate) unsafe fn init_task(task: *mut bindings::task_struct) {
    let ctx = ctx_of(task);
    // SAFETY: By this function's requirement.
    unsafe {
        set!(ctx, mode, mode::DISABLED);
        Recording::NOTHING.write_paused(ctx);
        set!(ctx, local, ptr::null_mut());
        set!(ctx, remote, ptr::null_mut());
        set!(ctx, handle, common_handle());
    }
}

/// Records PCs of the current task into `area` while `body` runs, no matter what was recorded
/// before.
///
/// For the self test at boot.
#[cfg(CONFIG_KCOV_SELFTEST)]
pub(crate) fn probe(area: &mut Area, body: impl FnOnce()) {
    let mut paused = pause();
    area.lay_out(Mode::Pc, area.words());
    let recording = Recording::into_layout(Mode::Pc, area.layout());
    // SAFETY: The task is the current one, and paused.
    let outer = unsafe { Recording::read(paused.ctx, paused.mode) };
    // SAFETY: As above. The area outlives the recording.
    unsafe { recording.write_paused(paused.ctx) };
    paused.mode = recording.mode;
    drop(paused);
    body();
    let mut paused = pause();
    // SAFETY: As above.
    unsafe { outer.write_paused(paused.ctx) };
    paused.mode = outer.mode;
}
