// SPDX-License-Identifier: GPL-2.0
/*
 * The offsets in C of the fields that Rust reads or writes, and the sizes of the types that Rust
 * embeds.
 *
 * The kernel's compiler translates this file to assembly, from which the Makefile makes constants
 * for offsets.rs. Therefore the constants are right by definition, whatever bindgen makes of these
 * types.
 */

#define COMPILE_OFFSETS

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/jump_label.h>
#include <linux/kbuild.h>
#include <linux/kcov.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "support.h"

#define SIZE(sym, type)					\
	do {						\
		DEFINE(sym##_SIZE, sizeof(type));	\
		DEFINE(sym##_ALIGN, __alignof__(type));	\
	} while (0)

int main(void)
{
	/* The only fields of a task that the crate uses. */
	OFFSET(TASK_KCOV_CTX, task_struct, kcov_ctx);
#if defined(CONFIG_ARM64)
	/* The lower half is the preempt count, the upper half a flag. */
	OFFSET(TASK_PREEMPT_COUNT, task_struct, thread_info.preempt.count);
	OFFSET(TASK_CPU, task_struct, thread_info.cpu);
#elif defined(CONFIG_RISCV)
	OFFSET(TASK_PREEMPT_COUNT, task_struct, thread_info.preempt_count);
	OFFSET(TASK_CPU, task_struct, thread_info.cpu);
#elif defined(CONFIG_UML)
	OFFSET(TASK_PREEMPT_COUNT, task_struct, thread_info.preempt_count);
#endif
#ifdef CONFIG_PREEMPT_RT
	OFFSET(TASK_SOFTIRQ_DISABLE_CNT, task_struct, softirq_disable_cnt);
#endif

	OFFSET(KCOV_CTX_MODE, kcov_ctx, mode);
	OFFSET(KCOV_CTX_SOFTIRQ, kcov_ctx, softirq);
	OFFSET(KCOV_CTX_CAPACITY, kcov_ctx, capacity);
	OFFSET(KCOV_CTX_AREA, kcov_ctx, area);
	OFFSET(KCOV_CTX_LAYOUT, kcov_ctx, layout);
	OFFSET(KCOV_CTX_SECTION, kcov_ctx, section);
	OFFSET(KCOV_CTX_LOCAL, kcov_ctx, local);
	OFFSET(KCOV_CTX_REMOTE, kcov_ctx, remote);
	OFFSET(KCOV_CTX_HANDLE, kcov_ctx, handle);
	SIZE(KCOV_CTX, struct kcov_ctx);

	OFFSET(KCOV_TEXT_START, kcov_text, start);
	OFFSET(KCOV_TEXT_SIZE, kcov_text, size);
	OFFSET(KCOV_TEXT_MODULES, kcov_text, modules);

	OFFSET(REMOTE_ARG_NUM_HANDLES, kcov_remote_arg, num_handles);
	SIZE(REMOTE_ARG, struct kcov_remote_arg);
	SIZE(COMMON_HANDLE_ID, struct kcov_common_handle_id);

#ifdef CONFIG_JUMP_LABEL
	OFFSET(STATIC_KEY, static_key_false, key);
#endif

	/* Used by rust/kernel/debugfs/device.rs. */
	OFFSET(FILE_PRIVATE_DATA, file, private_data);
	OFFSET(FILE_OPERATIONS_OPEN, file_operations, open);
	OFFSET(FILE_OPERATIONS_RELEASE, file_operations, release);
	OFFSET(FILE_OPERATIONS_MMAP, file_operations, mmap);
	OFFSET(FILE_OPERATIONS_UNLOCKED_IOCTL, file_operations, unlocked_ioctl);
	OFFSET(FILE_OPERATIONS_COMPAT_IOCTL, file_operations, compat_ioctl);
	OFFSET(FILE_OPERATIONS_SHOW_FDINFO, file_operations, show_fdinfo);
	SIZE(FILE_OPERATIONS, const struct file_operations);

	/* Used by rust/kernel/task.rs. */
	OFFSET(TASK_MM, task_struct, mm);

	/* Used by rust/kernel/mm/virt.rs and fault.rs. */
	OFFSET(VMA_START, vm_area_struct, vm_start);
	OFFSET(VMA_END, vm_area_struct, vm_end);
	OFFSET(VMA_FLAGS, vm_area_struct, vm_flags);
	OFFSET(VMA_PGOFF, vm_area_struct, vm_pgoff);
	OFFSET(VMA_OPS, vm_area_struct, vm_ops);
	OFFSET(VMA_FILE, vm_area_struct, vm_file);
	OFFSET(VM_FAULT_VMA, vm_fault, vma);
	OFFSET(VM_FAULT_PGOFF, vm_fault, pgoff);
	OFFSET(VM_FAULT_FLAGS, vm_fault, flags);
	OFFSET(VM_FAULT_PAGE, vm_fault, page);
	OFFSET(VM_OPERATIONS_FAULT, vm_operations_struct, fault);

	/* Types that functions in C use, and that are embedded in memory which Rust allocates. */
	SIZE(CALLBACK_HEAD, struct callback_head);
	SIZE(MUTEX, struct mutex);
	SIZE(SPINLOCK, spinlock_t);
	SIZE(WORK, struct work_struct);
	SIZE(DELAYED_WORK, struct delayed_work);
	OFFSET(DELAYED_WORK_WORK, delayed_work, work);
	OFFSET(DELAYED_WORK_TIMER, delayed_work, timer);

	return 0;
}
