#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# In the guest: measures one case by loading the module, and writes a line for the host.
#
#   sections NAME CALLS PARAMETER...

name=$1 calls=$2
shift 2
insmod /lib/kcov_bench.ko "calls=$calls" "$@" || exit
echo "$calls $(cat /sys/module/kcov_bench/parameters/result)" >"/results/remote.$name"
rmmod kcov_bench
