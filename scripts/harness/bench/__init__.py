# SPDX-License-Identifier: GPL-2.0
"""
The parts of scripts/bench.py: hooks, system calls, remote sections and size, each measured on both implementations.
"""
