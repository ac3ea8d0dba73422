// SPDX-License-Identifier: GPL-2.0

//! Annotated sections, in Rust, in every context from which KCOV collects remotely: a global
//! background task, a work item of a system call, and a softirq. The system call itself makes
//! comparisons of every kind.
//!
//! The device `/dev/rust-kcov-sample` takes the requests of `samples/kcov/kcov_sample.h`. The
//! functions named `*_code` are the code under test; each runs in one context only, so that its
//! symbol in a trace shows where the trace comes from.
//!
//! Documentation: `Documentation/dev-tools/kcov.rst`.

use core::hint::black_box;
use kernel::{
    fs::File,
    impl_has_hr_timer,
    ioctl::{
        _IO,
        _IOC_SIZE,
        _IOR,
        _IOW, //
    },
    kcov::{
        CommonHandle,
        Handle,
        RemoteSection, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Completion, //
    },
    time::{
        hrtimer::{
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeSoftMode, //
        },
        Delta,
        Monotonic, //
    },
    uaccess::UserSlice,
    workqueue::{
        self,
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    },
};

/// Returns the worker's handle and the softirq's, as in `struct kcov_sample_handles`.
const KCOV_SAMPLE_HANDLES: u32 = _IOR::<[u64; 2]>('|' as u32, 0x90);
const KCOV_SAMPLE_WORKER: u32 = _IO('|' as u32, 0x91);
const KCOV_SAMPLE_WORK: u32 = _IO('|' as u32, 0x92);
const KCOV_SAMPLE_SOFTIRQ: u32 = _IO('|' as u32, 0x93);
const KCOV_SAMPLE_NESTED: u32 = _IO('|' as u32, 0x94);
/// Compares two values of each size, as in `struct kcov_sample_operands`, which is four words long.
const KCOV_SAMPLE_COMPARE: u32 = _IOW::<[u64; 4]>('|' as u32, 0x95);

module! {
    type: KcovSampleModule,
    name: "rust_kcov_sample",
    authors: ["The KCOV developers"],
    description: "Sections annotated for remote KCOV coverage",
    license: "GPL",
    params: {
        // All global handles belong to USB, and no USB bus will ever have these numbers.
        instance: u32 {
            default: 0x6b636f78,
            description: "Instance of the worker's global handle; the softirq has the next one",
        },
    },
}

fn worker_handle() -> Handle {
    Handle::usb(*module_parameters::instance.value_ref())
}

fn softirq_handle() -> Handle {
    // `KcovSampleModule::init()` has refused the only value that would wrap.
    Handle::usb(module_parameters::instance.value_ref().wrapping_add(1))
}

// The code under test. `black_box` keeps the calls between start and stop.

#[inline(never)]
fn worker_code(value: u32) -> u32 {
    if black_box(value) & 1 == 0 {
        black_box(3)
    } else {
        black_box(5)
    }
}

#[inline(never)]
fn work_code(value: u32) -> u32 {
    if black_box(value) & 2 == 0 {
        black_box(7)
    } else {
        black_box(11)
    }
}

#[inline(never)]
fn softirq_code(value: u32) -> u32 {
    if black_box(value) & 4 == 0 {
        black_box(13)
    } else {
        black_box(17)
    }
}

#[inline(never)]
fn before_code(value: u32) -> u32 {
    black_box(value) ^ 19
}

#[inline(never)]
fn inner_code(value: u32) -> u32 {
    black_box(value) ^ 23
}

#[inline(never)]
fn after_code(value: u32) -> u32 {
    black_box(value) ^ 29
}

/// The fields of `struct kcov_sample_operands`.
struct Operands {
    u64: [u64; 2],
    u32: [u32; 2],
    u16: [u16; 2],
    u8: [u8; 2],
}

/// The only function under test in the system call itself: its comparisons are recorded for a
/// thread that traces itself. The constants are those of `samples/kcov/kcov_sample.h`.
#[inline(never)]
fn compare_code(operands: &Operands) {
    if operands.u64[0] == operands.u64[1] {
        black_box(11);
    }
    if operands.u32[0] == operands.u32[1] {
        black_box(13);
    }
    if operands.u16[0] == operands.u16[1] {
        black_box(17);
    }
    if operands.u8[0] == operands.u8[1] {
        black_box(19);
    }

    if operands.u64[0] == 0x5eedc0de7ea5ba5e {
        black_box(23);
    }
    if operands.u32[0] == 0x5eedc0de {
        black_box(29);
    }
    if operands.u16[0] == 0x5eed {
        black_box(31);
    }
    if operands.u8[0] == 0x5e {
        black_box(37);
    }

    match operands.u32[1] {
        0x00000a11 => black_box(1),
        0x00b0b000 => black_box(5),
        0xca401000 => black_box(7),
        0xdadad0d0 => black_box(9),
        _ => 0,
    };
}

/// A job for a worker thread of the kernel.
#[derive(Clone, Copy)]
enum Job {
    /// Work for all processes: the handle is a constant that a collector must know.
    Global,
    /// Work for one process: the system call that queues the work passes on its common handle.
    Local(CommonHandle),
    /// A section of one process inside the global section. The implementation in C does not nest
    /// sections.
    Nested(CommonHandle),
}

#[pin_data]
struct TaskRequest {
    job: Job,
    #[pin]
    work: Work<TaskRequest>,
    #[pin]
    done: Completion,
}

impl_has_work! {
    impl HasWork<Self> for TaskRequest { self.work }
}

impl TaskRequest {
    fn run_and_wait(job: Job) -> Result {
        let request = Arc::pin_init(
            pin_init!(TaskRequest {
                job,
                work <- new_work!("TaskRequest::work"),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;

        if workqueue::system().enqueue(request.clone()).is_err() {
            return Err(EBUSY);
        }
        request.done.wait_for_completion();
        Ok(())
    }
}

impl WorkItem for TaskRequest {
    type Pointer = Arc<TaskRequest>;

    fn run(this: Arc<TaskRequest>) {
        match this.job {
            Job::Global => {
                let _section = RemoteSection::start(worker_handle());
                black_box(worker_code(1));
            }
            Job::Local(common) => {
                let _section = RemoteSection::start(Handle::common(common));
                black_box(work_code(2));
            }
            Job::Nested(common) => {
                let _outer = RemoteSection::start(worker_handle());
                black_box(before_code(1));
                {
                    let _inner = RemoteSection::start(Handle::common(common));
                    black_box(inner_code(2));
                }
                black_box(after_code(3));
            }
        }
        // The guards are gone: when a waiter wakes up, the coverage is in the buffer.
        this.done.complete_all();
    }
}

#[pin_data]
struct SoftirqRequest {
    #[pin]
    timer: HrTimer<SoftirqRequest>,
    #[pin]
    done: Completion,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for SoftirqRequest {
        // In any other mode the callback runs in hard interrupt context, where nothing is recorded.
        mode: RelativeSoftMode<Monotonic>, field: self.timer
    }
}

impl SoftirqRequest {
    fn run_and_wait() -> Result {
        let request = Arc::pin_init(
            pin_init!(SoftirqRequest {
                timer <- HrTimer::new(),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;

        let _handle = request.clone().start(Delta::from_millis(1));
        request.done.wait_for_completion();
        Ok(())
    }
}

impl HrTimerCallback for SoftirqRequest {
    type Pointer<'a> = Arc<Self>;

    fn run(
        this: ArcBorrow<'_, Self>,
        _context: HrTimerCallbackContext<'_, Self>,
    ) -> HrTimerRestart {
        {
            let _section = RemoteSection::start(softirq_handle());
            black_box(softirq_code(4));
        }
        this.done.complete_all();
        HrTimerRestart::NoRestart
    }
}

#[pin_data]
struct KcovSampleModule {
    #[pin]
    _device: MiscDeviceRegistration<KcovSampleDevice>,
}

impl kernel::InPlaceModule for KcovSampleModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let options = MiscDeviceOptions {
            name: c"rust-kcov-sample",
        };

        try_pin_init!(Self {
            _device <- {
                if *module_parameters::instance.value_ref() == u32::MAX {
                    pr_err!("this instance leaves no number for the softirq: choose a smaller one\n");
                    return Err(EINVAL);
                }
                MiscDeviceRegistration::register(options)
            },
        })
    }
}

struct KcovSampleDevice;

#[vtable]
impl MiscDevice for KcovSampleDevice {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        Ok(KBox::new(KcovSampleDevice, GFP_KERNEL)?)
    }

    fn ioctl(_me: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            KCOV_SAMPLE_HANDLES => {
                let mut writer = UserSlice::new(UserPtr::from_addr(arg), _IOC_SIZE(cmd)).writer();

                writer.write(&worker_handle().as_raw())?;
                writer.write(&softirq_handle().as_raw())?;
            }
            KCOV_SAMPLE_WORKER => TaskRequest::run_and_wait(Job::Global)?,
            KCOV_SAMPLE_WORK => TaskRequest::run_and_wait(Job::Local(CommonHandle::current()))?,
            KCOV_SAMPLE_NESTED => TaskRequest::run_and_wait(Job::Nested(CommonHandle::current()))?,
            KCOV_SAMPLE_SOFTIRQ => SoftirqRequest::run_and_wait()?,
            KCOV_SAMPLE_COMPARE => {
                let mut reader = UserSlice::new(UserPtr::from_addr(arg), _IOC_SIZE(cmd)).reader();

                compare_code(&Operands {
                    u64: reader.read()?,
                    u32: reader.read()?,
                    u16: reader.read()?,
                    u8: reader.read()?,
                });
            }
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}
