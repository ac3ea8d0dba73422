#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Tests kcov-trace with a real KCOV: in a guest, as root, with debugfs, /proc and /sys mounted. Prints TAP; the exit
# status is 0 if all tests passed.
#
#   test.sh KCOV-TRACE TASKS RESULTS
#
# KCOV-TRACE and TASKS are static programs; TASKS is built from kcov-trace/tests/fixture/tasks.c. The directory RESULTS
# receives recordings for the host, which symbolises them with its vmlinux. Two variables describe the kernel:
# KCOV_UNIQUE is "yes" if it can record each PC and each edge once, otherwise "no". KCOV_WORK names a program that makes the kernel
# work in a section with the program's common handle.

set -u
trace=$1
tasks=$2
results=$3
work=$(mktemp -d)
number=0
failed=0

# report NAME PROBLEM: prints one line of TAP; an empty PROBLEM means that the test passed.
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

# expect NAME STATUS: checks that the last run ended with the status, and silently if that is 0.
expect() {
	if [ "$status" -ne "$2" ]; then
		report "$1" "status $status instead of $2"
	elif [ "$2" -eq 0 ] && [ -s "$work/stderr" ]; then
		report "$1" "something was said on standard error"
	else
		report "$1" ""
	fi
}

# await_catching PID: waits until the process catches SIGTERM, as kcov-trace does while it collects, or has ended.
await_catching() {
	until grep -q '^State:[[:space:]]*Z' "/proc/$1/status"; do
		# The signals 1 to 16.
		caught=$(sed -n 's/^SigCgt:.*\(....\)$/\1/p' "/proc/$1/status")
		[ $((0x$caught & 0x4000)) -eq 0 ] || return
		sleep 0.1
	done
}

# expect_ended NAME STATUS [-- COMMAND...]: checks that SIGTERM ends a collection of sections with this status, and that
# the recording can be read.
expect_ended() {
	name=$1 wanted=$2
	shift 2
	"$trace" remote --usb 1 -o "$work/signal.kcov" "$@" &
	first=$!
	await_catching "$first"
	kill -TERM "$first"
	status=0
	wait "$first" || status=$?
	if [ "$status" -ne "$wanted" ]; then
		report "$name" "status $status instead of $wanted"
		return
	fi
	run report "$work/signal.kcov"
	expect "$name" 0
}

# expect_error NAME STATUS TEXT: checks that the last run ended with the status and one line that contains the text.
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

# count_of FILE: prints the number of records of all tasks of a recording.
count_of() {
	"$trace" report -f tasks "$1" 2>/dev/null | sed -n 's/.*: \([0-9]*\) \(PC\|comparison\|edge\)s\{0,1\}.*/\1/p' |
		awk '{ sum += $1 } END { print sum + 0 }'
}

# expect_once NAME FILE: checks that no task of the recording has a PC or an edge twice.
expect_once() {
	"$trace" report "$2" >"$work/stdout" 2>"$work/stderr"
	twice=$(awk '/^#/ { task++; next } seen[task, $0]++ { print $0 }' "$work/stdout" | head -n 1)
	if [ -n "$twice" ]; then
		report "$1" "$twice is there twice"
	elif ! grep -q -e '^0x' -e '-> 0x' "$work/stdout"; then
		report "$1" "there is no PC at all"
	else
		report "$1" ""
	fi
}

# expect_connected NAME FILE: checks that each task of the recording has one edge to its first PC, and that all others
# come from PCs that its edges lead to.
expect_connected() {
	"$trace" report "$2" >"$work/stdout" 2>"$work/stderr"
	wrong=$(awk '
		function judge(  pc) {
			if (edges && firsts != 1) print "task " task " has " firsts " first PCs"
			for (pc in from) if (!(pc in to)) print "no edge leads to " pc
			edges = firsts = 0; split("", from); split("", to)
		}
		/^##/ { next }
		/^#/ { judge(); task = $3; next }
		{ edges++; to[$NF] }
		/^\(first PC\)/ { firsts++; next }
		{ from[$1] }
		END { judge() }' "$work/stdout" | head -n 1)
	if [ -n "$wrong" ]; then
		report "$1" "$wrong"
	elif ! grep -q -e '^0x.* -> 0x' "$work/stdout"; then
		report "$1" "there is no edge at all"
	else
		report "$1" ""
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
# Only kcov-trace receives this signal, so it passes it on to the command.
# shellcheck disable=SC2016
run -- sh -c 'kill -INT $PPID; exec sleep 100'
expect "SIGINT that is no Ctrl-C reaches the command" 130
run -o "$work/none.kcov" -- no-such-command
expect_error "a command that does not exist" 127 "no-such-command cannot be run"
echo text >"$work/text"
run -o "$work/none.kcov" -- "$work/text"
expect_error "a file that is no program" 126 "cannot be run"
mkdir "$work/folder"
for kind in cmp "remote --common 7"; do
	# shellcheck disable=SC2086
	run $kind -o "$work/none.kcov" -- no-such-command
	expect_error "a command that does not exist, with $kind" 127 "no-such-command cannot be run"
	# shellcheck disable=SC2086
	run $kind -o "$work/none.kcov" -- "$work/folder"
	expect_error "a command that is a folder, with $kind" 126 "cannot be run"
done
if [ -e "$work/none.kcov" ]; then
	report "no file is left of a command that did not run" "$work/none.kcov is there"
else
	report "no file is left of a command that did not run" ""
fi

files=$("$tasks")
run -o "$results/tasks.kcov" -- "$tasks" first "$files"
expect "threads, children and programs are left as they were" 0
# The trace has a million lines; a shell in an emulator needs a minute to read them.
run report --format tasks "$results/tasks.kcov"
# The first task, 8 threads, 3 children, 50 tasks made by the alarm, and the last program; tasks that are killed at
# birth may be missed.
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

run cmp -- true
if grep -qF CONFIG_KCOV_ENABLE_COMPARISONS "$work/stderr"; then
	expect_error "a kernel without comparisons" 2 "CONFIG_KCOV_ENABLE_COMPARISONS"
else
	expect "comparisons" 0
	expect_at_least "with constants marked" constants "$(grep -c ' =0x' "$work/stdout")" 10
	run cmp -o "$results/cmp.kcov" -- true
	expect "a recording of comparisons" 0
	run cmp --all "$results/cmp.kcov"
	expect "is shown by site" 0
	expect_at_least "with constants marked there too" constants "$(grep -c ' =0x' "$work/stdout")" 10
	run diff "$results/cmp.kcov" "$results/cmp.kcov"
	report "no difference to itself in comparisons" "$(grep '^0x' "$work/stdout")"
	run diff "$results/true.kcov" "$results/cmp.kcov"
	expect_error "no difference of PCs to comparisons" 2 "the same kind"
fi
run cmp "$results/true.kcov"
expect_error "PCs are no comparisons" 2 "not comparisons"

if [ "${KCOV_UNIQUE:-no}" = yes ]; then
	run -o "$work/plain.kcov" -- sh -c 'ls -R /sys/class; :'
	run --unique -o "$results/unique.kcov" -- sh -c 'ls -R /sys/class; :'
	expect "each PC once" 0
	expect_once "none of a task's is there twice" "$results/unique.kcov"
	expect_at_least "of all that there are" PCs "$(count_of "$results/unique.kcov")" 500
	plain=$(count_of "$work/plain.kcov")
	expect_at_least "in ten times less room" PCs "$plain" $((10 * $(count_of "$results/unique.kcov")))
	# A few PCs differ from run to run, but less than a tenth.
	run diff -o "$work/lost.kcov" "$results/unique.kcov" "$work/plain.kcov"
	"$trace" merge --unique -o "$work/all.kcov" "$work/plain.kcov"
	expect_at_least "which is nearly what runs" PCs "$(count_of "$work/all.kcov")" $((10 * $(count_of "$work/lost.kcov")))
	run --unique --buffer 512 --each-syscall -o "$work/small.kcov" -- ls -R /sys/class
	expect_once "a buffer that is emptied gives none twice" "$work/small.kcov"
	run --unique -o "$work/tasks.kcov" -- "$tasks" first "$files"
	expect "tasks are left as they were with a set, too" 0
	expect_once "and each has its own" "$work/tasks.kcov"

	run --edges -o "$results/edges.kcov" -- sh -c 'ls -R /sys/class; :'
	expect "each edge once" 0
	expect_once "no edge of a task is there twice" "$results/edges.kcov"
	expect_connected "and each comes from a PC of the task" "$results/edges.kcov"
	edges=$(count_of "$results/edges.kcov")
	expect_at_least "there are more of them than PCs" edges "$edges" "$(count_of "$results/unique.kcov")"
	expect_at_least "and fewer than a trace has PCs" PCs "$plain" $((4 * edges))
	# The PCs are those of the other run, but for less than a tenth.
	for pair in "edges unique" "unique edges"; do
		# shellcheck disable=SC2086
		set -- $pair
		run diff -f trace "$results/$1.kcov" "$results/$2.kcov"
		new=$(sed -n '/^#/d; s/.*\(0x[0-9a-f]*\)$/\1/p' "$work/stdout" | sort -u | wc -l)
		run merge --unique -o "$work/all.kcov" "$results/unique.kcov"
		expect_at_least "$2 has nearly the PCs of $1" PCs "$(count_of "$work/all.kcov")" $((10 * new))
	done
	run --edges --buffer 512 --each-syscall -o "$work/small.kcov" -- ls /sys/class
	expect_once "a buffer that is emptied gives no edge twice" "$work/small.kcov"
	run --edges --buffer 65536 --each-syscall -o "$work/each.kcov" -- ls -R /sys/class
	expect "edges at each system call" 0
	expect_once "no edge is there again after a stop" "$work/each.kcov"
	expect_connected "and none is lost at a stop" "$work/each.kcov"
	run --edges -o "$work/tasks.kcov" -- "$tasks" first "$files"
	expect "tasks are left as they were with a table, too" 0
	expect_once "and each has its own edges" "$work/tasks.kcov"
	expect_connected "from its own PCs" "$work/tasks.kcov"
else
	run --edges -o "$work/none.kcov" -- true
	expect_error "a kernel that cannot record each edge once" 2 "CONFIG_KCOV_UNIQUE"
	run remote --edges --usb 1 --seconds 0.1
	expect_error "of sections neither edges" 2 "CONFIG_KCOV_UNIQUE"
	run --unique -o "$work/none.kcov" -- true
	expect_error "a kernel that cannot record each PC once" 2 "CONFIG_KCOV_UNIQUE"
	run remote --unique --usb 1 --seconds 0.1
	expect_error "of sections neither" 2 "CONFIG_KCOV_UNIQUE"
fi

if [ -n "${KCOV_WORK:-}" ]; then
	run remote --common 7 -o "$results/section.kcov" -- sh -c "$KCOV_WORK; $KCOV_WORK; $KCOV_WORK"
	expect "sections of a command's handle" 0
	expect_at_least "are recorded" PCs "$(count_of "$results/section.kcov")" 3
	if [ "${KCOV_UNIQUE:-no}" = yes ]; then
		run remote --common 7 --unique -o "$work/section.kcov" -- sh -c "$KCOV_WORK; $KCOV_WORK; $KCOV_WORK"
		expect "with each PC once" 0
		expect_once "in all of them together" "$work/section.kcov"
		run remote --common 7 --edges -o "$work/section.kcov" -- sh -c "$KCOV_WORK; $KCOV_WORK; $KCOV_WORK"
		expect "with each edge once" 0
		expect_once "in all of the sections together" "$work/section.kcov"
		run report "$work/section.kcov"
		expect_at_least "and the first PC of a section" edges "$(grep -c '^(first PC)' "$work/stdout")" 1
	fi
fi

# A signal ends the collection, not the program.
expect_ended "a signal ends the collection of sections" 0
expect_ended "or reaches the command that they are collected for" 143 -- sleep 100
run remote --usb 1 --usb 1 --seconds 0.1
expect "a bus that is named twice" 0
run remote --usb 1 --common 7 -o "$results/remote.kcov" -- sleep 1
expect "remote handles" 0
run remote --usb 1 -o "$work/remote.kcov" -- sh -c 'exit 5'
expect "remote handles while a command runs" 5
"$trace" remote --usb 1 -o "$work/a.kcov" &
first=$!
await_catching "$first"
run remote --usb 1 --seconds 0.2 -o "$work/b.kcov"
expect_error "a handle that is in use" 2 "in use"
kill -TERM "$first"
wait "$first"
run remote --seconds 1
expect_error "no handle at all" 2 "--usb"
run remote --common 7 --seconds 1
expect_error "a common handle that nobody inherits" 2 "COMMAND"

run -o "$work/ls.kcov" -- ls /proc/self/fd
run diff "$results/true.kcov" "$work/ls.kcov"
expect "a difference" 0
expect_at_least "has PCs" PCs "$(grep -c '^0xffffffff' "$work/stdout")" 50
run diff "$work/ls.kcov" "$work/ls.kcov"
report "no difference to itself" "$(grep '^0x' "$work/stdout")"
run merge -o "$work/both.kcov" "$results/true.kcov" "$work/ls.kcov"
expect "two recordings are put together" 0
sum=$(($(count_of "$results/true.kcov") + $(count_of "$work/ls.kcov")))
if [ "$(count_of "$work/both.kcov")" -eq "$sum" ]; then
	report "with all that they hold" ""
else
	report "with all that they hold" "$(count_of "$work/both.kcov") PCs instead of $sum"
fi
run merge --unique -o "$work/once.kcov" "$work/both.kcov"
expect_once "or with each PC once" "$work/once.kcov"
run diff "$work/once.kcov" "$work/ls.kcov"
report "which leaves no difference to a part" "$(grep '^0x' "$work/stdout")"

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
