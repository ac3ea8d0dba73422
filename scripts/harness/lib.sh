# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Paths of setup.sh, and its messages to the person who started it. setup.sh sources this file. It must run before
# Python is installed, so the cache, die, need_space and run_logged are also in hostlib.py.

set -euo pipefail

# shellcheck disable=SC2034 # setup.sh uses it
CACHE=${KCOV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kcov-linux}

step() { printf '==> %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# die SENTENCE: ends the script; the sentence names the problem and its remedy.
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need_space DIRECTORY MEBIBYTES PURPOSE: refuses to start a step that would fill the disk before it is complete.
need_space() {
	local free
	mkdir -p "$1"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] ||
		die "$3 needs $2 MiB in $1, but only $free MiB are free; free some there, or name another place (KCOV_CACHE=)."
}

# keep FILE LINE: makes LINE the content of FILE, and does not write if it is that already. Other processes may read the
# file at any time, and find either the old or the new content.
keep() {
	[ "$(cat "$1" 2>/dev/null)" = "$2" ] && return 0
	printf '%s\n' "$2" >"$1.partial.$$"
	mv "$1.partial.$$" "$1"
}

# unpack_deb FILE DIRECTORY: unpacks a package, and removes it. The directory appears when it is complete.
unpack_deb() {
	rm -rf "$2" "$2.partial.$$"
	mkdir -p "$2.partial.$$"
	dpkg-deb -x "$1" "$2.partial.$$"
	mv "$2.partial.$$" "$2"
	rm -f "$1"
}

# run_logged LOG TITLE COMMAND...: runs a command quietly; its output goes to LOG. If the command fails, the end of the
# output also goes to the terminal.
run_logged() {
	local log=$1 title=$2 status=0
	shift 2
	mkdir -p "$(dirname "$log")"
	step "$title"
	"$@" >"$log" 2>&1 </dev/null || status=$?
	[ "$status" -eq 0 ] && return 0
	tail -n 20 "$log" | sed 's/^/    /' >&2
	printf 'error: %s failed (status %s); the whole log is in %s\n' "$title" "$status" "$log" >&2
	return "$status"
}
