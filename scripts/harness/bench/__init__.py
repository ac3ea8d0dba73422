# SPDX-License-Identifier: GPL-2.0
"""
The parts of scripts/bench.py: hooks, system calls, remote sections and size. Each part measures both implementations.
"""
