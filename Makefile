# SPDX-License-Identifier: GPL-2.0
#
# What a person types. Each target hands over to a script, which says how it is used with --help.

# Where everything goes that is made here, except for what the cache of the user keeps (see `make help`).
BUILD ?= build
export BUILD KERNEL O J LLVM ARCH IMPL

# What the given variables need of the machine, beyond what every build needs.
SETUP_PARTS = base $(if $(KERNEL),,linux) $(filter arm64 riscv64,$(ARCH))
FORCE_OPTION = $(if $(filter-out 0,$(FORCE)),--force)

# The tree for what only looks at one.
TREE = $(or $(KERNEL),$(BUILD)/linux)

have = $(wildcard scripts/$(1))

# These show up with their scripts.
GDB_HELP = '  make gdb        boot a kernel under gdb'
BENCH_HELP = '  make bench      measure what the hooks cost'
STRESS_HELP = '  make stress     remote sections under load, on a kernel that checks itself'
REPORT_HELP = '  make report     write a coverage report of the kernel for a browser'
MODELS_HELP = '  make models     check formal models of the memory orders, the gate and the sections'
EDITOR_HELP = '  make editor     describe the sources for rust-analyzer and clangd'
MUTANTS_HELP = '  make mutants    make small wrong changes of the kernel part; name those that no check finds'
MATRIX_HELP = '  make matrix     build and boot with other compilers, architectures and options'

.PHONY: help
help:
	@echo 'KCOV for Linux in Rust'
	@echo
	@echo '  make run        build a kernel, boot it, show the coverage of a system call'
	@echo '  make check-quick the checks that take less than a minute together, without building anything'
	@echo '  make test       run every check that is not on demand (scripts/test.py --list)'
	@echo '  make shell      boot to a shell in the guest'
	@echo '  make proof      the kernel part on the host: its properties, and models of what takes no lock'
	$(if $(call have,editor.py),@echo $(EDITOR_HELP))
	$(if $(call have,gdb.py),@echo $(GDB_HELP))
	$(if $(call have,bench.py),@echo $(BENCH_HELP))
	$(if $(call have,stress.py),@echo $(STRESS_HELP))
	$(if $(call have,report.py),@echo $(REPORT_HELP))
	$(if $(call have,matrix.py),@echo $(MATRIX_HELP))
	$(if $(call have,models.py),@echo $(MODELS_HELP))
	$(if $(call have,mutants.py),@echo $(MUTANTS_HELP))
	@echo '  make kernel     build the kernel, no more'
	@echo '  make setup      get what the machine lacks: packages, bindgen, the Linux source'
	@echo
	@echo '  make fits       tell whether the overlay fits the tree KERNEL; nothing is written there'
	@echo '  make install    put the overlay into the tree KERNEL'
	@echo '  make uninstall  take it out again'
	@echo '  make status     list what of it is in the tree'
	@echo '  make series     write the overlay as patches, to $(BUILD)/series'
	@echo
	@echo '  make clean      remove the objects of the kernels'
	@echo '  make distclean  remove $(BUILD)'
	@echo
	@echo 'Variables:'
	@echo '  KERNEL=DIR      your own Linux tree, 7.2 or later, instead of one that is downloaded'
	@echo '  IMPL=rust|c     which implementation of KCOV, where one kernel is built (rust)'
	@echo '  KVM=0|1         0: emulate processors even where KVM works; 1: try again whether it does (one trial for each machine)'
	@echo '  ARCH=NAME       x86_64, um, arm64 or riscv64 (x86_64)'
	@echo '  LLVM=SUFFIX     the compiler as in the kernel: LLVM=-22, LLVM=1; LLVM=gcc is GCC (the newest clang that fits rustc)'
	@echo '  KCOV_BINDGEN=V  a version of bindgen, from 0.71.1 on, or "newest"; set-up builds it (the bindgen in PATH, or a new one)'
	@echo '  O=DIR           where the kernels are built, each in a directory of its own ($(BUILD)/obj)'
	@echo '  J=N             jobs (one per processor)'
	@echo '  BUILD=DIR       where everything goes that is made here (build)'
	@echo '  KCOV_CACHE=DIR  downloads, tools and compiler output that outlive a clone ($${XDG_CACHE_HOME:-~/.cache}/kcov-linux)'
	@echo '  FORCE=1         install, uninstall: give up changes made to the overlay in the tree'
	@echo '  ONLY=NAME,…     test, matrix: only these checks or cells'

.PHONY: setup kernel run test check-quick shell proof
setup:
	@scripts/setup.sh $(SETUP_PARTS)

kernel: setup
	@scripts/kernel.py build

run: setup
	@scripts/run.py

test: setup
	@scripts/test.py

check-quick:
	@scripts/test.py --quick

shell: setup
	@scripts/shell.py

proof: setup
	@scripts/test.py --only proof

ifneq ($(call have,editor.py),)
# The kernel's name for the half of it.
.PHONY: editor rust-analyzer
editor rust-analyzer: setup
	@scripts/editor.py
endif

ifneq ($(call have,gdb.py),)
.PHONY: gdb
gdb: setup
	@scripts/gdb.py
endif

ifneq ($(call have,bench.py),)
.PHONY: bench
bench: setup
	@scripts/bench.py
endif

ifneq ($(call have,stress.py),)
.PHONY: stress
stress: setup
	@scripts/stress.py
endif

ifneq ($(call have,report.py),)
.PHONY: report
report: setup
	@scripts/report.py
endif

ifneq ($(call have,matrix.py),)
.PHONY: matrix
matrix: setup
	@scripts/matrix.py
endif

ifneq ($(call have,models.py),)
.PHONY: models
models:
	@scripts/models.py
endif

ifneq ($(call have,mutants.py),)
.PHONY: mutants
mutants: setup
	@scripts/mutants.py
endif

.PHONY: install uninstall fits status series
install uninstall:
	@test -n "$(KERNEL)" || { echo "error: \`make $@\` wants to know the tree; name it with KERNEL=/path/to/linux." >&2; exit 1; }
	@scripts/tree.py $@ "$(KERNEL)" $(FORCE_OPTION)

fits status series:
	@$(if $(KERNEL),,scripts/kernel.py tree >&2 &&) scripts/tree.py $@ "$(TREE)"

.PHONY: clean distclean
clean:
	@for dir in "$(or $(O),$(BUILD)/obj)"/*/; do \
		if [ -e "$$dir.kcov-lock" ]; then echo "removing $$dir"; rm -rf "$$dir"; fi; \
	done
	@rm -rf "$(BUILD)/series"

distclean: clean
	@echo "removing $(BUILD)"
	@rm -rf "$(BUILD)" rust-project.json compile_commands.json
	@echo 'The cache of downloads and tools stays; see KCOV_CACHE in `make help`.'

# make asks itself whether it can remake this file; it can not, and need not.
Makefile: ;

.DEFAULT:
	@echo "error: there is no target '$@'; \`make help\` lists the targets." >&2; exit 1

# One thing after the other: the scripts use the processors themselves.
.NOTPARALLEL:
