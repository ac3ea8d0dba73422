#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the requirements of a build that the machine lacks: Debian packages, bindgen, the Rust library source that
# belongs to rustc, and the Linux source. Everything that is not a Debian package goes to the user's cache
# directory. Parts that are installed are not installed again, so a second run takes a moment.
#
#   setup.sh [PART...]
#
#   base       compilers, QEMU, tools of the kernel's own build, bindgen, the Rust library source (default)
#   linux      the Linux source as a tarball in the cache (default)
#   linux-7.2  the source of Linux 7.2 as another tarball
#   lint       shellcheck, and ruff and mypy in the cache
#   arm64      QEMU, a compiler and a busybox for ARCH=arm64
#   riscv64    QEMU, a compiler and a busybox for ARCH=riscv64
#   browser    Chromium, to view the coverage report
#   symbols    libraries for building with CONFIG_GENDWARFKSYMS
#   clang-N    clang N with its tools, such as clang-19
#   bindgen-V  bindgen V, such as bindgen-0.72.1, in a directory of its own in the cache; bindgen-newest is the
#              newest on crates.io
#
# The part `base` reads the variables KERNEL, LLVM and KCOV_BINDGEN (see `make help`). It refuses values that cannot work
# before it installs or builds anything. KCOV_BINDGEN=V also installs bindgen-V.

. "$(dirname "$0")/harness/lib.sh"

# The Debian suite with the Linux source and Rust library sources, the series of the kernel, and the oldest one that works.
SUITE=trixie-backports
LINUX_SERIES=7.3
LINUX_OLDEST=7.2

# The oldest tools that can build the kernel; scripts/min-tool-version.sh in the tree has the same versions.
RUSTC_MIN=1.85.0
CLANG_MIN=17
BINDGEN_MIN=0.71.1
# bindgen before this version loses the fields of some structures with libclang 22 or later.
BINDGEN_MIN_CLANG_22=0.72.1
# Every rustc from RUSTC_MIN on can build this bindgen.
BINDGEN_FALLBACK=0.72.1

# The tools that check the scripts in Python, from PyPI. Other versions have other complaints.
PYTHON_TOOLS=(ruff==0.17.6 mypy==2.4.1)

LOGS=$CACHE/log
APT_LISTS_READ=

# at_least MINIMUM VERSION: compares two versions; a string that is not a version is too old.
at_least() { [[ $2 == [0-9]* ]] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

is_debian() { have dpkg-query && have apt-get; }

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# Prints the command prefix that makes apt-get privileged, or fails.
privilege() {
	if [ "$(id -u)" -eq 0 ]; then
		printf 'env'
	elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		printf 'sudo'
	else
		return 1
	fi
}

# read_lists PRIVILEGE: lets apt read its package lists, once per run.
read_lists() {
	[ -z "$APT_LISTS_READ" ] || return 0
	run_logged "$LOGS/apt-update.log" "Reading the package lists" "$1" apt-get update || return
	APT_LISTS_READ=yes
}

# Reads the package lists if they are missing or older than a day. Each `apt-get update` changes partial/.
refresh_lists() {
	local as lists=/var/lib/apt/lists/
	[ -z "$APT_LISTS_READ" ] || return 0
	eval "$(apt-config shell lists Dir::State::lists/d)"
	if [ -n "$(find "$lists/partial" -maxdepth 0 -mmin -1440 2>/dev/null)" ] &&
		[ -n "$(find "$lists" -maxdepth 1 -name '*_Packages*' -print -quit 2>/dev/null)" ]; then
		return 0
	fi
	if ! as=$(privilege) || ! read_lists "$as"; then
		warn "the package lists are missing or older than a day, and could not be read; run 'apt-get update' as root."
		APT_LISTS_READ=failed
	fi
}

# offered NAME: tests whether the machine's package lists have a package.
offered() { apt-cache show "$1" >/dev/null 2>&1; }

# want_packages NAME...: installs the packages that are missing.
want_packages() {
	local missing=() name as
	for name; do
		installed "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	as=$(privilege) ||
		die "packages are missing and neither root nor sudo is available. Install them with:  su -c 'apt-get update && apt-get install -y --no-install-recommends ${missing[*]}'"
	read_lists "$as"
	run_logged "$LOGS/apt-install.log" "Installing ${#missing[@]} packages: ${missing[*]}" \
		"$as" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

rustc_version() { rustc --version | awk '{ print $2 }'; }
rustc_llvm() { rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# newest_clang TEST...: prints the newest clang that passes the test and that rustc's LLVM can be mixed with.
newest_clang() {
	local major
	for major in $(seq "$(rustc_llvm)" -1 "$CLANG_MIN"); do
		if "$@" "clang-$major"; then
			printf '%s' "$major"
			return 0
		fi
	done
	return 1
}

have_or_offered() { have "$1" || offered "$1"; }

# Sets CLANG to the version of the default clang. The choice is kept: it changes only if that clang is removed, or if
# rustc gets another LLVM.
choose_clang() {
	local llvm
	llvm=$(rustc_llvm)
	CLANG=$(sed -n 's/^-//p' "$CACHE/llvm.suffix" 2>/dev/null) || CLANG=
	if [ -n "$CLANG" ] && [ "$(cat "$CACHE/llvm.rustc" 2>/dev/null)" = "$llvm" ] && have "clang-$CLANG"; then
		return 0
	fi
	refresh_lists
	if privilege >/dev/null; then
		CLANG=$(newest_clang have_or_offered) || CLANG=
	else
		# Nothing can be installed: prefer an installed clang.
		CLANG=$(newest_clang have) || CLANG=$(newest_clang offered) || CLANG=
	fi
	[ -n "$CLANG" ] ||
		die "the machine's package sources have no clang from $CLANG_MIN to $llvm; install one, or add a source that has it."
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
		die "the machine's own apt configuration has no Debian mirror; add one, or name a tree of your own with KERNEL=/path/to/linux."
	[ -e "$keyring" ] || want_packages debian-archive-keyring
	mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
	keep "$root/sources.list" "deb [signed-by=$keyring] $mirror $SUITE main"
	run_logged "$LOGS/apt-suite.log" "Reading the package lists of $SUITE" private_apt apt-get update || return
	touch "$root/ready"
}

# fetch_deb NAME[=VERSION] [APT-GET...]: downloads a package and prints the file's path. The package comes from $SUITE,
# unless the command is named.
fetch_deb() {
	local dir=$CACHE/debs/partial.$$ file name=$1
	shift
	[ $# -gt 0 ] || set -- private_apt apt-get
	mkdir -p "$dir"
	(cd "$dir" && "$@" -q download "$name") >"$LOGS/download.log" 2>&1 || {
		tail -n 5 "$LOGS/download.log" >&2
		rm -rf "$dir"
		die "the package $name could not be downloaded (log: $LOGS/download.log); check the network, and start again."
	}
	file=$(find "$dir" -name '*.deb' -printf '%f\n')
	mv "$dir/$file" "$CACHE/debs/$file"
	rmdir "$dir"
	printf '%s' "$CACHE/debs/$file"
}

# keep_linux DEB NAME: makes the archive of a Linux source package a tarball in the cache. Its path goes to NAME.path, its
# version to NAME.version.
keep_linux() {
	local work tarball version
	work=$CACHE/linux.partial.$$
	mkdir -p "$work"
	dpkg-deb -x "$1" "$work"
	tarball=$(find "$work/usr/src" -name 'linux-source-*.tar.xz')
	[ -n "$tarball" ] || die "$1 contains no source tarball; report this."
	version=$(dpkg-deb -f "$1" Version)
	mv "$tarball" "$CACHE/linux-${version%%-*}.tar.xz"
	rm -rf "$work" "$1"
	keep "$CACHE/$2.version" "${version%%-*}"
	keep "$CACHE/$2.path" "$CACHE/linux-${version%%-*}.tar.xz"
}

# have_linux NAME: tests whether a source is in the cache; if not, makes sure that there is space for it.
have_linux() {
	[ -e "$CACHE/$1.path" ] && [ -s "$(cat "$CACHE/$1.path")" ] && return 0
	need_space "$CACHE" 1200 "fetching the Linux source"
	return 1
}

part_linux() {
	local deb
	! have_linux linux || return 0
	open_suite
	step "Downloading the Linux $LINUX_SERIES source (about 170 MB)"
	deb=$(fetch_deb "linux-source-$LINUX_SERIES")
	keep_linux "$deb" linux
}

# The source of Linux 7.2, which only Debian's unstable suite has.
part_older_linux() {
	local deb
	! have_linux linux-7.2 || return 0
	is_debian || die "the Linux 7.2 source is taken from a package of Debian, and this is no Debian system."
	deb=$(fetch_foreign "$(dpkg --print-architecture)" unstable linux-source-7.2)
	keep_linux "$deb" linux-7.2
}

# rust_src_package VERSION APT-CACHE...: prints the version of the package rust-src that has this version of Rust.
rust_src_package() {
	local version=$1
	shift
	"$@" madison rust-src 2>/dev/null |
		awk -v v="$version" 'index($3, v) == 1 && substr($3, length(v) + 1) !~ /^[0-9.]/ && !n++ { print $3 }'
}

# The Rust library source of exactly rustc's version: rustup's component, or Debian's package unpacked into the
# cache, from the machine's own suites or else from $SUITE. Its path goes to rust-lib-src-VERSION.path.
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
	is_debian ||
		die "the source of the Rust library $version was not found in $own; install it ('rustup component add rust-src', or your distribution's package)."
	refresh_lists
	set -- apt-get
	candidate=$(rust_src_package "$version" apt-cache)
	if [ -z "$candidate" ]; then
		open_suite
		set -- private_apt apt-get
		candidate=$(rust_src_package "$version" private_apt apt-cache)
	fi
	[ -n "$candidate" ] ||
		die "the source of the Rust library $version was not found: not with rustup ('rustup component add rust-src'), not in the machine's package sources, not in Debian's $SUITE; install the component, or another rustc."
	step "Downloading the Rust library source $version"
	deb=$(fetch_deb "rust-src=$candidate" "$@")
	work=$CACHE/rust-src-$version
	unpack_deb "$deb" "$work"
	own=$work/usr/lib/rustlib/src/rust/library
	[ -e "$own/core/src/lib.rs" ] || die "the package rust-src $candidate has no library/core; report this."
	keep "$link" "$own"
}

# bindgen_version PROGRAM: prints the version of a bindgen; nothing if there is no such program.
bindgen_version() { "$1" --version 2>/dev/null | awk '{ print $2 }' || true; }

# install_bindgen DIRECTORY [OPTION...]: builds the newest bindgen, or another, into a directory with cargo.
install_bindgen() {
	local dir=$1
	shift
	! is_debian || want_packages ca-certificates
	cargo install bindgen-cli --locked --root "$dir" "$@" >"$LOGS/bindgen.log" 2>&1 </dev/null
}

# bindgen_failed NAME: ends the script after install_bindgen has failed.
bindgen_failed() {
	tail -n 5 "$LOGS/bindgen.log" | sed 's/^/    /' >&2
	die "$1 could not be built with rustc $(rustc_version); the whole log is in $LOGS/bindgen.log."
}

# default_bindgen MINIMUM: makes $CACHE/bin/bindgen a bindgen that is new enough: the earlier choice, the first one in
# PATH, Debian's package, or the newest that can be built.
default_bindgen() {
	local minimum=$1 link=$CACHE/bin/bindgen own=$CACHE/bindgen found version
	at_least "$minimum" "$(bindgen_version "$link")" && return 0
	mkdir -p "$CACHE/bin"
	found=$(type -P bindgen) || found=
	version=$(bindgen_version "$found")
	if at_least "$minimum" "$version"; then
		ln -sf "$found" "$link"
		return 0
	fi
	[ -z "$version" ] || step "bindgen $version ($found) is not used; $minimum or later is needed"
	if is_debian && privilege >/dev/null; then
		refresh_lists
		version=$(apt-cache policy bindgen 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
		if at_least "$minimum" "${version%%-*}"; then
			want_packages bindgen
			ln -sf /usr/bin/bindgen "$link"
			return 0
		fi
	fi
	step "Building the newest bindgen (a minute or more)"
	install_bindgen "$own" --force || {
		warn "the newest bindgen could not be built with rustc $(rustc_version); trying $BINDGEN_FALLBACK."
		install_bindgen "$own" --force --version "$BINDGEN_FALLBACK" || bindgen_failed "bindgen $BINDGEN_FALLBACK"
	}
	ln -sf "$own/bin/bindgen" "$link"
}

# part_bindgen VERSION: builds that bindgen into a directory of its own.
part_bindgen() {
	local dir=$CACHE/bindgen-$1
	if [ "$1" = newest ]; then
		# cargo builds only a version that is newer than the installed one.
		step "Looking for the newest bindgen"
		install_bindgen "$dir" && return 0
		[ -x "$dir/bin/bindgen" ] || bindgen_failed "the newest bindgen"
		warn "a newer bindgen could not be found or built; $(bindgen_version "$dir/bin/bindgen") stays (log: $LOGS/bindgen.log)."
		return 0
	fi
	[ ! -x "$dir/bin/bindgen" ] || return 0
	step "Building bindgen $1 (a minute or more)"
	install_bindgen "$dir" --version "$1" && return 0
	! grep -q 'could not find .bindgen-cli.' "$LOGS/bindgen.log" ||
		die "crates.io has no bindgen $1; choose another version, such as KCOV_BINDGEN=$BINDGEN_FALLBACK or KCOV_BINDGEN=newest."
	bindgen_failed "bindgen $1"
}

part_clang() { want_packages "clang-$1" "lld-$1" "llvm-$1" "libclang-$1-dev"; }

# Refuses a rustc that cannot build the kernel.
check_rust() {
	if ! have rustc || ! have cargo; then
		die "rustc and cargo were not found; install Rust $RUSTC_MIN or later, with rustup for example, and start again."
	fi
	at_least "$RUSTC_MIN" "$(rustc_version)" ||
		die "rustc is $(rustc_version), but the kernel needs $RUSTC_MIN or later; update it ('rustup update')."
}

# Refuses a tree in which the overlay does not fit.
check_tree() {
	local version
	[ -n "${KERNEL:-}" ] || return 0
	version=$(sed -n 's/^\(VERSION\|PATCHLEVEL\) = *//p' "$KERNEL/Makefile" 2>/dev/null | head -n 2 | paste -sd .) ||
		version=
	[[ $version =~ ^[0-9]+\.[0-9]+$ ]] ||
		die "$KERNEL is not a Linux source tree; name one with KERNEL=/path/to/linux."
	at_least "$LINUX_OLDEST" "$version" ||
		die "$KERNEL is Linux $version, but the overlay needs $LINUX_OLDEST or later; name a newer tree."
}

# Refuses a compiler that is missing or too old.
check_llvm() {
	local program version remedy="choose another with LLVM= (LLVM=gcc for GCC), or leave LLVM= out"
	case ${LLVM:-} in
	'' | gcc | 0) return 0 ;;
	-[0-9]*)
		program=clang$LLVM version=${LLVM#-}
		if ! have "$program" && is_debian; then
			refresh_lists
			! offered "$program" || program=
		fi
		;;
	1 | */)
		program=${LLVM%1}clang
		version=$("$program" --version 2>/dev/null | sed -n 's/.*clang version \([0-9]*\).*/\1/p') || version=
		;;
	*) die "LLVM=$LLVM does not name a compiler; write LLVM=1, a suffix such as LLVM=-22, a path that ends in /, or LLVM=gcc." ;;
	esac
	[ -z "$program" ] || have "$program" || die "LLVM=$LLVM: there is no $program, and no package has it; $remedy."
	[[ $version =~ ^[0-9]+$ ]] || die "LLVM=$LLVM: $program does not print its version; $remedy."
	[ "$version" -ge "$CLANG_MIN" ] || die "LLVM=$LLVM: the kernel needs clang $CLANG_MIN or later; $remedy."
}

# check_bindgen LIBCLANG: refuses KCOV_BINDGEN= that cannot work, with this version of libclang.
check_bindgen() {
	local remedy="choose another, such as KCOV_BINDGEN=$BINDGEN_FALLBACK or KCOV_BINDGEN=newest"
	[ "${KCOV_BINDGEN:-newest}" != newest ] || return 0
	[[ $KCOV_BINDGEN =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "KCOV_BINDGEN=$KCOV_BINDGEN is not a version; $remedy."
	at_least "$BINDGEN_MIN" "$KCOV_BINDGEN" ||
		die "KCOV_BINDGEN=$KCOV_BINDGEN is too old: the kernel needs bindgen $BINDGEN_MIN or later; $remedy."
	[ "$1" -lt 22 ] || at_least "$BINDGEN_MIN_CLANG_22" "$KCOV_BINDGEN" ||
		die "KCOV_BINDGEN=$KCOV_BINDGEN is too old for clang $1, which needs bindgen $BINDGEN_MIN_CLANG_22 or later; $remedy, or an older clang (LLVM=-19)."
}

part_base() {
	local libclang minimum=$BINDGEN_MIN
	check_rust
	check_tree
	check_llvm
	check_bindgen 0
	if ! is_debian; then
		warn "this is not a Debian system; nothing is installed, and the kernel's build reports missing tools."
	else
		choose_clang
		# The clang of LLVM=-N, or else the default, also brings the libclang for bindgen.
		libclang=$CLANG
		[[ ${LLVM:-} != -* ]] || libclang=${LLVM#-}
		check_bindgen "$libclang"
		[ "$CLANG" -lt 22 ] && [ "$libclang" -lt 22 ] || minimum=$BINDGEN_MIN_CLANG_22
		want_packages make gcc libc6-dev flex bison bc cpio kmod xz-utils libelf-dev libssl-dev dwarves python3 git \
			"clang-$CLANG" "lld-$CLANG" "llvm-$CLANG" "libclang-$CLANG-dev" \
			busybox-static qemu-system-x86 ccache
		keep "$CACHE/llvm.suffix" "-$CLANG"
		keep "$CACHE/llvm.rustc" "$(rustc_llvm)"
		part_clang "$libclang"
	fi
	part_rust_src
	# The package that may not exist comes first.
	[ -z "${KCOV_BINDGEN:-}" ] || part_bindgen "$KCOV_BINDGEN"
	default_bindgen "$minimum"
}

# new_python_tools DIRECTORY: installs the tools for Python in a virtual environment.
new_python_tools() {
	rm -rf "$1"
	python3 -m venv "$1" && "$1/bin/python" -m pip --disable-pip-version-check --no-input install "${PYTHON_TOOLS[@]}"
}

part_lint() {
	local dir=$CACHE/lint label
	! is_debian || want_packages shellcheck
	have python3 || ! is_debian || want_packages python3
	label="$(python3 --version) ${PYTHON_TOOLS[*]}"
	[ "$(cat "$dir/complete" 2>/dev/null)" != "$label" ] || return 0
	# Debian has the installer of Python's packages in a package of its own.
	! is_debian || python3 -c 'import ensurepip' 2>/dev/null || want_packages python3-venv
	if run_logged "$LOGS/lint.log" "Installing ${PYTHON_TOOLS[*]}" new_python_tools "$dir"; then
		keep "$dir/complete" "$label"
	else
		warn "without ruff and mypy the style check fails, but all other checks work."
	fi
}

part_symbols() { want_packages libdw-dev zlib1g-dev; }
part_browser() { have chromium || want_packages chromium; }

# foreign_busybox DEBIAN-ARCHITECTURE: puts a static busybox of another architecture into the cache.
foreign_busybox() {
	local deb suite
	[ -x "$CACHE/busybox-$1/bin/busybox" ] || [ -x "$CACHE/busybox-$1/usr/bin/busybox" ] && return 0
	# Mirrors may lack an architecture in one suite; any version of busybox suffices.
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
	# The functions below use these variables.
	local CACHE=$CACHE/foreign-$1-$2 SUITE=$2
	local PRIVATE_ARCH=(-o "APT::Architecture=$1" -o "APT::Architectures=$1")
	mkdir -p "$CACHE/debs"
	{
		open_suite || return
		step "Downloading $3 for $1"
	} >&2
	fetch_deb "$3:$1"
}

# rust_library TARGET: installs Rust's compiled library for programs in guests of another architecture.
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
	sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

mkdir -p "$LOGS" "$CACHE/debs"
# Other clones may write to the same cache.
exec 9>"$CACHE/setup.lock"
flock -n 9 2>/dev/null || {
	step "Waiting for another set-up that works in $CACHE"
	flock 9
}
[ $# -gt 0 ] || set -- base linux
for part; do
	case $part in
	base | linux | lint | browser | symbols | arm64 | riscv64) "part_$part" ;;
	linux-7.2) part_older_linux ;;
	clang-[0-9]* | bindgen-[0-9]* | bindgen-newest) "part_${part%%-*}" "${part#*-}" ;;
	*) die "setup.sh has no part '$part'; the parts are: base linux linux-7.2 lint browser symbols arm64 riscv64 clang-N bindgen-V." ;;
	esac
done
