#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Brings what a build needs and the machine lacks: Debian packages, bindgen, the Rust library source that
# belongs to rustc, and the Linux source. Everything that is not a Debian package goes to the user's cache
# directory. Every part is looked at first, so a second run takes a moment.
#
#   setup.sh [PART...]
#
#   base       compilers, QEMU, what the kernel's own build wants, bindgen, the Rust library source (default)
#   linux      the Linux source as a tarball in the cache (default)
#   lint       shellcheck
#   arm64      QEMU, a compiler and a busybox for ARCH=arm64
#   riscv64    QEMU, a compiler and a busybox for ARCH=riscv64
#   browser    Chromium, to look at the coverage report
#   symbols    what CONFIG_GENDWARFKSYMS is built with

. "$(dirname "$0")/lib.sh"

# The Debian suite that carries the Linux source and Rust library sources, and the series of the kernel.
SUITE=trixie-backports
LINUX_SERIES=7.3
BINDGEN_VERSION=0.72.1

LOGS=$CACHE/log
APT_LISTS_READ=

is_debian() { have dpkg-query && have apt-get; }

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# The command prefix that makes apt-get privileged, or failure.
privilege() {
	if [ "$(id -u)" -eq 0 ]; then
		printf 'env'
	elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		printf 'sudo'
	else
		return 1
	fi
}

# want_packages NAME...: installs those that are missing.
want_packages() {
	local missing=() name as
	for name; do
		installed "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	as=$(privilege) ||
		die "packages are missing and neither root nor sudo is at hand. Install them with:  su -c 'apt-get update && apt-get install -y --no-install-recommends ${missing[*]}'"
	if [ -z "$APT_LISTS_READ" ]; then
		run_logged "$LOGS/apt-update.log" "Reading the package lists" "$as" apt-get update
		APT_LISTS_READ=yes
	fi
	run_logged "$LOGS/apt-install.log" "Installing ${#missing[@]} packages: ${missing[*]}" \
		"$as" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

rustc_version() { rustc --version | awk '{ print $2 }'; }
rustc_llvm() { rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# The newest clang that the package lists offer and rustc's LLVM can be mixed with.
clang_major() {
	local major
	for major in $(seq "$(rustc_llvm)" -1 17); do
		if have "clang-$major" || apt-cache show "clang-$major" >/dev/null 2>&1; then
			printf '%s' "$major"
			return 0
		fi
	done
	return 1
}

# private_apt COMMAND...: apt-get on $SUITE alone, in the cache directory, without touching the machine's own
# configuration. The mirror comes from that configuration; signatures are checked as always.
private_apt() {
	local tool=$1 root=$CACHE/apt
	shift
	"$tool" -o "Dir::Etc::sourcelist=$root/sources.list" -o Dir::Etc::sourceparts=- \
		-o "Dir::State::lists=$root/lists" -o "Dir::Cache=$root/cache" -o APT::Get::List-Cleanup=0 \
		-o APT::Sandbox::User="$(id -un)" "${PRIVATE_ARCH[@]}" "$@"
}
PRIVATE_ARCH=()

open_suite() {
	local mirror root=$CACHE/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e "$root/ready" ] && [ -n "$(find "$root/ready" -mmin -240)" ] && return 0
	is_debian || die "the Linux source is taken from Debian's package $SUITE/linux-source-$LINUX_SERIES, and this is no Debian system; name a tree of your own with KERNEL=/path/to/linux."
	# shellcheck disable=SC2016  # apt-get fills these in
	local format='$(SITE) $(RELEASE) $(ORIGIN)'
	mirror=$(apt-get indextargets --format "$format" 2>/dev/null |
		awk '$3 == "Debian" && $1 !~ /security/ { print $1; exit }')
	[ -n "$mirror" ] || {
		want_packages debian-archive-keyring
		mirror=$(apt-get indextargets --format "$format" 2>/dev/null |
			awk '$1 !~ /security/ { print $1; exit }')
	}
	[ -n "$mirror" ] ||
		die "no Debian mirror stands in the machine's own apt configuration; add one, or name a tree of your own with KERNEL=/path/to/linux."
	[ -e "$keyring" ] || want_packages debian-archive-keyring
	mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
	keep "$root/sources.list" "deb [signed-by=$keyring] $mirror $SUITE main"
	run_logged "$LOGS/apt-suite.log" "Reading the package lists of $SUITE" private_apt apt-get update || return
	touch "$root/ready"
}

# fetch_deb NAME[=VERSION]: downloads a package of $SUITE and prints the file's path.
fetch_deb() {
	local dir=$CACHE/debs/partial.$$ file
	mkdir -p "$dir"
	(cd "$dir" && private_apt apt-get -q download "$1") >"$LOGS/download.log" 2>&1 ||
		{ tail -n 5 "$LOGS/download.log" >&2; rm -rf "$dir"; die "the package $1 could not be downloaded from $SUITE (log: $LOGS/download.log)."; }
	file=$(find "$dir" -name '*.deb' -printf '%f\n')
	mv "$dir/$file" "$CACHE/debs/$file"
	rmdir "$dir"
	printf '%s' "$CACHE/debs/$file"
}

# The Linux source: a tarball in the cache, its path in linux.path, its version in linux.version.
part_linux() {
	local deb work tarball version
	[ -e "$CACHE/linux.path" ] && [ -s "$(cat "$CACHE/linux.path")" ] && return 0
	need_space "$CACHE" 1200 "fetching the Linux source"
	open_suite
	step "Downloading the Linux $LINUX_SERIES source (about 170 MB)"
	deb=$(fetch_deb "linux-source-$LINUX_SERIES")
	work=$CACHE/linux.partial.$$
	mkdir -p "$work"
	dpkg-deb -x "$deb" "$work"
	tarball=$(find "$work/usr/src" -name 'linux-source-*.tar.xz')
	[ -n "$tarball" ] || die "$deb holds no source tarball; report this."
	version=$(dpkg-deb -f "$deb" Version)
	mv "$tarball" "$CACHE/linux-${version%%-*}.tar.xz"
	rm -rf "$work" "$deb"
	keep "$CACHE/linux.version" "${version%%-*}"
	keep "$CACHE/linux.path" "$CACHE/linux-${version%%-*}.tar.xz"
}

# The Rust library source of exactly rustc's version: rustup's component, or Debian's package unpacked into the
# cache. Its path goes to rust-lib-src-VERSION.path.
part_rust_src() {
	local version sysroot own deb candidate work link
	version=$(rustc_version)
	link=$CACHE/rust-lib-src-$version.path
	[ -e "$link" ] && [ -e "$(cat "$link")/core/src/lib.rs" ] && return 0
	sysroot=$(rustc --print sysroot)
	own=$sysroot/lib/rustlib/src/rust/library
	if [ ! -e "$own/core/src/lib.rs" ] && have rustup; then
		rustup component add rust-src >"$LOGS/rust-src.log" 2>&1 || true
	fi
	if [ -e "$own/core/src/lib.rs" ]; then
		keep "$link" "$own"
		return 0
	fi
	open_suite
	candidate=$(private_apt apt-cache madison rust-src 2>/dev/null |
		awk -v v="$version" '$3 ~ "^" v { print $3; exit }')
	[ -n "$candidate" ] ||
		die "no source of the Rust library $version was found, neither with rustup ('rustup component add rust-src') nor in Debian's $SUITE; install the component, or another rustc."
	step "Downloading the Rust library source $version"
	deb=$(fetch_deb "rust-src=$candidate")
	work=$CACHE/rust-src-$version
	unpack_deb "$deb" "$work"
	own=$(dirname "$(dirname "$(dirname "$(find "$work" -path '*/library/core/src/lib.rs' | head -n 1)")")")
	[ -e "$own/core/src/lib.rs" ] || die "the package rust-src $candidate holds no library/core; report this."
	keep "$link" "$own"
}

part_bindgen() {
	[ -x "$CACHE/bin/bindgen" ] && return 0
	if have bindgen && [ "$(printf '%s\n' 0.71.1 "$(bindgen --version 2>/dev/null | awk '{ print $2 }')" | sort -V | head -n 1)" = 0.71.1 ]; then
		mkdir -p "$CACHE/bin"
		ln -sf "$(command -v bindgen)" "$CACHE/bin/bindgen"
		return 0
	fi
	run_logged "$LOGS/bindgen.log" "Building bindgen $BINDGEN_VERSION (about a minute)" \
		cargo install bindgen-cli --locked --version "$BINDGEN_VERSION" --root "$CACHE"
}

part_base() {
	local major
	if ! have rustc || ! have cargo; then
		die "rustc and cargo were not found; install Rust 1.85 or later, with rustup for example, and start again."
	fi
	if [ "$(printf '%s\n' 1.85.0 "$(rustc_version)" | sort -V | head -n 1)" != 1.85.0 ]; then
		die "rustc is $(rustc_version), but the kernel wants 1.85.0 or later; update it ('rustup update')."
	fi
	if ! is_debian; then
		warn "this is no Debian system; nothing is installed, what is missing will be missed by the kernel's build."
	else
		major=$(clang_major) || {
			want_packages ca-certificates
			run_logged "$LOGS/apt-update.log" "Reading the package lists" "$(privilege)" apt-get update
			APT_LISTS_READ=yes
			major=$(clang_major) || die "no clang between 17 and $(rustc_llvm) is offered by the machine's package sources; install one."
		}
		want_packages make gcc libc6-dev flex bison bc cpio kmod xz-utils libelf-dev libssl-dev dwarves python3 git \
			"clang-$major" "lld-$major" "llvm-$major" "libclang-$major-dev" \
			busybox-static qemu-system-x86 ccache
		keep "$CACHE/llvm.suffix" "-$major"
	fi
	part_rust_src
	part_bindgen
}

part_lint() { want_packages shellcheck; }
part_symbols() { want_packages libdw-dev zlib1g-dev; }
part_browser() { have chromium || want_packages chromium; }

# foreign_busybox DEBIAN-ARCHITECTURE: a static busybox of another architecture in the cache.
foreign_busybox() {
	local deb suite
	[ -x "$CACHE/busybox-$1/bin/busybox" ] || [ -x "$CACHE/busybox-$1/usr/bin/busybox" ] && return 0
	# Mirrors may lack an architecture in one suite; any busybox will do.
	for suite in trixie testing unstable; do
		if deb=$(fetch_foreign "$1" "$suite" busybox-static); then
			unpack_deb "$deb" "$CACHE/busybox-$1"
			return
		fi
	done
	die "no suite of the mirror has a busybox for $1; see the messages above."
}

# fetch_foreign DEBIAN-ARCHITECTURE SUITE NAME: downloads a package of another architecture and prints the file's path.
fetch_foreign() {
	# What the functions below go by.
	local CACHE=$CACHE/foreign-$1-$2 SUITE=$2
	local PRIVATE_ARCH=(-o "APT::Architecture=$1" -o "APT::Architectures=$1")
	mkdir -p "$CACHE/debs"
	{
		open_suite || return
		step "Downloading $3 for $1"
	} >&2
	fetch_deb "$3:$1"
}

# rust_library TARGET: Rust's compiled library for programs in guests of another architecture.
rust_library() {
	[ -z "$(find "$(rustc --print sysroot)/lib/rustlib/$1/lib" -name 'libstd-*' 2>/dev/null)" ] || return 0
	have rustup || {
		step "rustc has no library for $1; programs in Rust cannot be tested there"
		return 0
	}
	run_logged "$LOGS/rust-target.log" "Installing Rust's library for $1" rustup target add "$1"
}

part_arm64() {
	want_packages qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	rust_library aarch64-unknown-linux-gnu
	foreign_busybox arm64
}

part_riscv64() {
	want_packages qemu-system-misc gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
	rust_library riscv64gc-unknown-linux-gnu
	foreign_busybox riscv64
}

case ${1:-} in
-h | --help)
	sed -n '4,17s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

mkdir -p "$LOGS" "$CACHE/debs"
# Other clones fill the same cache.
exec 9>"$CACHE/setup.lock"
flock -n 9 2>/dev/null || {
	step "Waiting for another set-up that works in $CACHE"
	flock 9
}
[ $# -gt 0 ] || set -- base linux
for part; do
	case $part in
	base | linux | lint | browser | symbols | arm64 | riscv64) "part_$part" ;;
	*) die "setup.sh knows no part '$part'; the parts are: base linux lint browser symbols arm64 riscv64." ;;
	esac
done
