#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Tests kcov-trace where there is a KCOV: in a guest, as root, with debugfs, /proc and /sys mounted. Prints TAP;
# the exit status is 0 if everything passed.
#
#   test.sh KCOV-TRACE TASKS RESULTS
#
# KCOV-TRACE and TASKS are static programs; TASKS is built of kcov-trace/tests/fixture/tasks.c. In the directory
# RESULTS recordings are left for the host, which has the vmlinux to symbolise them with.

set -u
trace=$1
tasks=$2
results=$3
work=$(mktemp -d)
number=0
failed=0

# report NAME PROBLEM: one line of TAP; an empty PROBLEM is none.
report() {
	number=$((number + 1))
	if [ -z "$2" ]; then
		echo "ok $number - $1"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $number - $1"
	echo "# $2"
	sed 's/^/# stderr: /' "$work/stderr"
}

# run ARGUMENT...: runs kcov-trace; leaves its status in $status and its output in files.
run() {
	status=0
	"$trace" "$@" >"$work/stdout" 2>"$work/stderr" || status=$?
}

# expect NAME STATUS: the last run ended with the status, and silently if that is 0.
expect() {
	if [ "$status" -ne "$2" ]; then
		report "$1" "status $status instead of $2"
	elif [ "$2" -eq 0 ] && [ -s "$work/stderr" ]; then
		report "$1" "something was said on standard error"
	else
		report "$1" ""
	fi
}

# expect_error NAME STATUS TEXT: the last run ended with the status and one line with the text.
expect_error() {
	if [ "$status" -ne "$2" ]; then
		report "$1" "status $status instead of $2"
	elif [ "$(wc -l <"$work/stderr")" -ne 1 ] || ! grep -qF -e "$3" "$work/stderr"; then
		report "$1" "not one line with '$3'"
	else
		report "$1" ""
	fi
}

# expect_at_least NAME WHAT NUMBER LEAST
expect_at_least() {
	if [ "$3" -ge "$4" ]; then
		report "$1" ""
	else
		report "$1" "$3 $2 instead of $4 or more"
	fi
}

run -o "$results/true.kcov" -- true
expect "a command is traced" 0
run report "$results/true.kcov"
expect_at_least "its PCs are recorded" PCs "$(grep -c '^0xffffffff' "$work/stdout")" 500

run -- sh -c 'exit 37'
expect "the status is the command's" 37
# shellcheck disable=SC2016
run -- sh -c 'kill -9 $$'
expect "a signal is status 128 and its number" 137
run -o "$work/none.kcov" -- no-such-command
expect_error "a command that does not exist" 127 "no-such-command cannot be run"
echo text >"$work/text"
run -o "$work/none.kcov" -- "$work/text"
expect_error "a file that is no program" 126 "cannot be run"
if [ -e "$work/none.kcov" ]; then
	report "no file is left of a command that did not run" "$work/none.kcov is there"
else
	report "no file is left of a command that did not run" ""
fi

files=$("$tasks")
run -o "$results/tasks.kcov" -- "$tasks" first "$files"
expect "threads, children and programs are left as they were" 0
# The trace has a million lines, which takes a shell in an emulator a minute to look through.
run report --format tasks "$results/tasks.kcov"
# The first, 8 threads, 3 children and 50 by the alarm, and the last program; those killed at birth may be missed.
expect_at_least "each of them is recorded" tasks "$(grep -c '^task .*: [1-9][0-9]* PCs' "$work/stdout")" 63
expect_at_least "with the one that made it" tasks "$(grep -c '^task .*made by' "$work/stdout")" 60

run --buffer 512 -o "$work/small.kcov" -- cat /proc/mounts
expect_error "a full buffer is told" 0 "--buffer"
run --buffer 8192 --each-syscall -o "$results/each.kcov" -- cat /proc/mounts
expect "a buffer that is emptied at each system call" 0
run report "$results/each.kcov"
expect_at_least "holds more than the buffer" PCs "$(grep -c '^0xffffffff' "$work/stdout")" 8192
run --buffer 100 -- true
expect_error "a buffer that fills no page" 2 "whole pages"

if zcat /proc/config.gz 2>/dev/null | grep -q '^CONFIG_KCOV_ENABLE_COMPARISONS=y' || [ ! -e /proc/config.gz ]; then
	run cmp -- true
	expect "comparisons" 0
	expect_at_least "with constants marked" constants "$(grep -c ' =0x' "$work/stdout")" 10
fi

run remote --usb 1 --common 7 --seconds 0.2 -o "$results/remote.kcov"
expect "remote handles" 0
run remote --usb 1 -o "$work/remote.kcov" -- sh -c 'exit 5'
expect "remote handles while a command runs" 5
"$trace" remote --usb 1 --seconds 5 -o "$work/a.kcov" &
first=$!
sleep 2
run remote --usb 1 --seconds 0.2 -o "$work/b.kcov"
expect_error "a handle that is in use" 2 "in use"
wait "$first"
run remote --seconds 1
expect_error "no handle at all" 2 "--usb"

run -o "$work/ls.kcov" -- ls /proc/self/fd
run diff "$results/true.kcov" "$work/ls.kcov"
expect "a difference" 0
expect_at_least "has PCs" PCs "$(grep -c '^0xffffffff' "$work/stdout")" 50
run diff "$work/ls.kcov" "$work/ls.kcov"
report "no difference to itself" "$(grep '^0x' "$work/stdout")"

run -- "$trace" -o "$work/inner.kcov" -- true
if grep -qF "cannot be traced" "$work/stderr"; then
	report "a tracer in a tracer ends with a sentence" ""
else
	report "a tracer in a tracer ends with a sentence" "it did not say that it cannot trace"
fi

mkdir "$work/debug"
mount --move /sys/kernel/debug "$work/debug"
run -o "$work/moved.kcov" -- true
expect "debugfs that is mounted elsewhere" 0
umount "$work/debug"
run -- true
expect_error "debugfs that is not mounted" 2 "mount -t debugfs"
mount -t debugfs none /sys/kernel/debug

echo "1..$number"
[ "$failed" -eq 0 ]
