// SPDX-License-Identifier: GPL-2.0
/* Programs about files, directories and their attributes. */
#include "traces.h"

#include <sched.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>

static int file, other, directory;
static char block[4096];

static void in_a_directory(void)
{
	char path[] = "/tmp/files-XXXXXX";

	/* A fixed name would do, but for what a process that has failed left behind. */
	expect(mkdtemp(path) && !chdir(path));
	directory = open(".", O_RDONLY | O_DIRECTORY);
	file = open("file", O_RDWR | O_CREAT, 0644);
	other = open("other", O_RDWR | O_CREAT, 0644);
	expect(directory >= 0 && file >= 0 && other >= 0);
	memset(block, 'x', sizeof(block));
	expect(pwrite(file, block, sizeof(block), 0) == sizeof(block));
}

static void open_close(void)
{
	int fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0600);

	expect(fd >= 0);
	expect(write(fd, "hello", 5) == 5);
	expect(lseek(fd, -2, SEEK_CUR) == 3);
	expect(read(fd, block, 10) == 2);
	expect(!close(fd));
	expect(!unlink("new"));
}

static void open_errors(void)
{
	expect_error(ENOENT, open("missing", O_RDONLY));
	expect_error(EEXIST, open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
	expect_error(ENOTDIR, open("file/below", O_RDONLY));
	expect_error(EISDIR, open(".", O_RDWR));
	expect_error(ENAMETOOLONG, open(memset(block, 'x', sizeof(block)), O_RDONLY));
	expect_error(EFAULT, syscall(SYS_openat, AT_FDCWD, 1UL, O_RDONLY, 0));
	expect_error(EBADF, close(-1));
	expect_error(EBADF, syscall(SYS_openat, 999, "x", O_RDONLY, 0));
	expect_error(EINVAL, syscall(SYS_openat2, AT_FDCWD, "x", "", 1UL));
}

static void read_write(void)
{
	struct iovec parts[2] = { { block, 100 }, { block + 200, 1000 } };

	expect(pwrite(file, block, 300, 10) == 300);
	expect(pread(file, block, sizeof(block), 0) == sizeof(block));
	expect(pwritev(file, parts, 2, 0) == 1100);
	expect(preadv2(file, parts, 2, 7, RWF_HIPRI) == 1100);
	expect_error(EOPNOTSUPP, preadv2(file, parts, 2, 7, 0x5a5a000));
	expect_error(EINVAL, syscall(SYS_readv, file, parts, -1));
	expect_error(EINVAL, lseek(file, 0x5a5a5a, 0x1234));
	expect_error(EFAULT, read(file, nowhere(), 16));
}

static void sizes(void)
{
	expect(!ftruncate(other, 10000));
	expect(!fallocate(other, 0, 0, 20000));
	expect(!fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
	expect(lseek(other, 0, SEEK_HOLE) >= 0);
	expect_error(EINVAL, ftruncate(other, -1));
	expect(!ftruncate(other, 0));
	expect(!fsync(other));
}

static void names(void)
{
	expect(!link("file", "second"));
	expect(!rename("second", "third"));
	expect(!symlink("third", "symbolic"));
	expect(readlink("symbolic", block, sizeof(block)) == 5);
	expect(!access("symbolic", R_OK));
	expect(!syscall(SYS_renameat2, AT_FDCWD, "third", AT_FDCWD, "other", 2));
	expect(!syscall(SYS_renameat2, AT_FDCWD, "third", AT_FDCWD, "other", 2));
	expect(!unlink("symbolic"));
	expect(!unlink("third"));
	expect_error(ENOENT, unlink("third"));
}

static void directories(void)
{
	expect(!mkdir("below", 0755));
	expect_error(EEXIST, mkdir("below", 0755));
	expect(!chdir("below"));
	expect(getcwd(block, sizeof(block)));
	expect(!mkdir("deep", 0700));
	expect_error(ENOTEMPTY, rmdir("../below"));
	expect(!rmdir("deep"));
	expect(!fchdir(directory));
	expect(!rmdir("below"));
	expect_error(ENOTDIR, rmdir("file"));
}

static void list_directory(void)
{
	expect(!lseek(directory, 0, SEEK_SET));
	expect(syscall(SYS_getdents64, directory, block, sizeof(block)) > 0);
	expect(!syscall(SYS_getdents64, directory, block, sizeof(block)));
	expect(!lseek(directory, 0, SEEK_SET));
	expect_error(EINVAL, syscall(SYS_getdents64, directory, block, 8));
	expect_error(ENOTDIR, syscall(SYS_getdents64, file, block, sizeof(block)));
}

static void status_of_files(void)
{
	struct statfs filesystem;
	struct statx extended;
	struct stat status;

	expect(!stat("file", &status));
	expect(!fstat(file, &status));
	expect(!lstat("other", &status));
	expect(!statx(AT_FDCWD, "file", 0, STATX_ALL, &extended));
	expect(!faccessat(AT_FDCWD, "file", W_OK, AT_EACCESS));
	expect(!fstatfs(file, &filesystem));
	expect_error(EINVAL, statx(AT_FDCWD, "file", 0, ~0U, &extended));
	expect_error(ENOENT, stat("missing", &status));
}

static void attributes(void)
{
	struct timespec times[2] = { { 1000, 0 }, { 2000, 500 } };
	mode_t mask = umask(077);

	expect(!chmod("file", 0600));
	expect(!fchmod(file, 0644));
	expect(!fchown(file, 1234, 5678));
	expect(!fchownat(AT_FDCWD, "file", 0, 0, 0));
	expect(!futimens(file, times));
	times[0].tv_nsec = 3000000000;
	expect_error(EINVAL, futimens(file, times));
	umask(mask);
}

static void extended_attributes(void)
{
	expect(!fsetxattr(file, "trusted.one", "value", 5, 0));
	expect_error(EEXIST, fsetxattr(file, "trusted.one", "value", 5, XATTR_CREATE));
	expect(fgetxattr(file, "trusted.one", block, sizeof(block)) == 5);
	expect_error(ERANGE, fgetxattr(file, "trusted.one", block, 2));
	expect(flistxattr(file, block, sizeof(block)) > 0);
	expect(!fremovexattr(file, "trusted.one"));
	expect_error(ENODATA, fgetxattr(file, "trusted.one", block, sizeof(block)));
	expect_error(EOPNOTSUPP, fsetxattr(file, "strange.one", "value", 5, 0));
}

static void descriptors(void)
{
	int copy = dup(file), third;

	expect(copy >= 0);
	expect(dup2(file, copy) == copy);
	third = fcntl(file, F_DUPFD_CLOEXEC, 20);
	expect(third >= 20);
	expect(fcntl(copy, F_GETFL) >= 0);
	expect(!fcntl(copy, F_SETFL, O_APPEND));
	expect(!fcntl(copy, F_SETFL, 0));
	expect(fcntl(copy, F_GETFD) == 0);
	expect_error(EINVAL, fcntl(copy, 0x5a5a, 1));
	expect_error(EINVAL, dup3(copy, copy, 0));
	expect_error(EBADF, fcntl(1000, F_GETFD));
	expect(!syscall(SYS_close_range, 20, 30, 0));
	expect(!close(copy));
}

static void locks(void)
{
	struct flock range = { .l_type = F_WRLCK, .l_start = 10, .l_len = 20 };

	expect(!flock(file, LOCK_EX));
	expect(!flock(file, LOCK_UN));
	expect(!fcntl(file, F_SETLK, &range));
	range.l_start = 15;
	range.l_type = F_RDLCK;
	expect(!fcntl(file, F_SETLK, &range));
	range.l_start = 0;
	range.l_len = 0;
	range.l_type = F_UNLCK;
	expect(!fcntl(file, F_SETLK, &range));
	range.l_type = F_RDLCK;
	expect(!fcntl(file, F_OFD_SETLK, &range));
	range.l_type = F_UNLCK;
	expect(!fcntl(file, F_OFD_SETLK, &range));
	expect_error(EINVAL, flock(file, 0x17));
}

static void ioctls(void)
{
	int value = 1;

	expect_error(ENOTTY, ioctl(file, 0x5a5a5a5a, 7));
	expect(!ioctl(file, FIONREAD, &value));
	expect(!ioctl(file, FIONBIO, &value));
	value = 0;
	expect(!ioctl(file, FIONBIO, &value));
	expect(!ioctl(file, FIOCLEX));
	expect(!ioctl(file, FIONCLEX));
	expect_error(EFAULT, ioctl(file, FIONBIO, 8));
	expect_error(EBADF, ioctl(-1, FIONBIO, &value));
}

static void memory_file(void)
{
	int fd = memfd_create("memory", MFD_ALLOW_SEALING);

	expect(fd >= 0);
	expect(!ftruncate(fd, 8192));
	expect(pwrite(fd, block, 100, 5000) == 100);
	expect(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE));
	expect(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_WRITE));
	expect_error(EPERM, pwrite(fd, block, 100, 0));
	expect_error(EPERM, ftruncate(fd, 0));
	expect(!close(fd));
	expect_error(EINVAL, memfd_create("memory", 0x4000));
}

static void copies(void)
{
	off_t offset = 100;
	loff_t from = 0, to = 50;

	expect(!lseek(other, 0, SEEK_SET));
	expect(sendfile(other, file, &offset, 1000) == 1000);
	expect(copy_file_range(file, &from, other, &to, 500, 0) == 500);
	expect(!ftruncate(other, 0));
	expect_error(EBADF, sendfile(-1, file, NULL, 10));
	expect_error(EINVAL, copy_file_range(file, &from, other, &to, 500, 1));
}

static int watcher;

static void watch_prepare(void)
{
	in_a_directory();
	watcher = inotify_init1(IN_NONBLOCK);
	expect(watcher >= 0);
}

static void watch(void)
{
	int mark = inotify_add_watch(watcher, ".", IN_CREATE | IN_DELETE | IN_OPEN);
	int fd;

	expect(mark >= 0);
	fd = open("new", O_RDWR | O_CREAT, 0600);
	expect(fd >= 0 && !close(fd) && !unlink("new"));
	expect(read(watcher, block, sizeof(block)) > 0);
	expect(!inotify_rm_watch(watcher, mark));
	expect(read(watcher, block, sizeof(block)) > 0);
	expect_error(EAGAIN, read(watcher, block, sizeof(block)));
	expect_error(EINVAL, inotify_rm_watch(watcher, 4711));
}

static void proc_and_sys(void)
{
	int fd = open("/proc/sys/kernel/ostype", O_RDONLY);

	expect(fd >= 0 && read(fd, block, 64) == 6 && !close(fd));
	fd = open("/proc/self/cmdline", O_RDONLY);
	expect(fd >= 0 && read(fd, block, 64) > 0 && !close(fd));
	fd = open("/sys/kernel/uevent_seqnum", O_RDONLY);
	expect(fd >= 0 && read(fd, block, 64) > 0 && !close(fd));
	expect_error(ENOTDIR, open("/proc/sys/kernel/ostype/x", O_RDWR));
	expect_error(ENOENT, open("/proc/nothing", O_RDONLY));
	expect(readlink("/proc/self/fd/0", block, sizeof(block)) > 0);
}

static int null, zero, full;

static void devices_prepare(void)
{
	null = open("/dev/null", O_RDWR);
	zero = open("/dev/zero", O_RDWR);
	full = open("/dev/full", O_RDWR);
	expect(null >= 0 && zero >= 0 && full >= 0);
}

static void devices(void)
{
	expect(write(null, block, 100) == 100);
	expect(read(null, block, 100) == 0);
	expect(read(zero, block, 100) == 100);
	expect_error(ENOSPC, write(full, block, 100));
	expect(!lseek(null, 0, SEEK_END));
}

static void mounts_prepare(void)
{
	expect(!unshare(CLONE_NEWNS));
	expect(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	in_a_directory();
	expect(!mkdir("below", 0755));
}

static void mounts(void)
{
	expect(!mount("none", "below", "tmpfs", MS_NOSUID, "size=64k"));
	expect(!mount(NULL, "below", NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL));
	expect(!umount2("below", 0));
	expect_error(EINVAL, umount2("below", 0));
	expect_error(ENODEV, mount("none", "below", "nothingfs", 0, NULL));
}

const struct program file_programs[] = {
	{ "open-close", in_a_directory, open_close },
	{ "open-errors", in_a_directory, open_errors },
	{ "read-write", in_a_directory, read_write },
	{ "file-sizes", in_a_directory, sizes },
	{ "file-names", in_a_directory, names },
	{ "directories", in_a_directory, directories },
	{ "getdents", in_a_directory, list_directory },
	{ "stat", in_a_directory, status_of_files },
	{ "attributes", in_a_directory, attributes },
	{ "xattr", in_a_directory, extended_attributes },
	{ "fcntl", in_a_directory, descriptors },
	{ "locks", in_a_directory, locks },
	{ "ioctl", in_a_directory, ioctls },
	{ "memfd", in_a_directory, memory_file },
	{ "copies", in_a_directory, copies },
	{ "inotify", watch_prepare, watch },
	{ "proc", in_a_directory, proc_and_sys },
	{ "devices", devices_prepare, devices },
	{ "mounts", mounts_prepare, mounts },
	{ 0 },
};
