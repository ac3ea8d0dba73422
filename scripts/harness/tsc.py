# SPDX-License-Identifier: GPL-2.0
"""
Measures the host's time stamp counter.

QEMU's emulation passes the counter through to a guest. When the guest boots, it measures the counter's frequency with
an emulated timer. On a busy host, the result is wrong by large factors, and so are all clocks and timeouts in the
guest. So the host, whose clock can be trusted, tells the guest the frequency.
"""

import ctypes
import mmap
import os
import time
from functools import lru_cache
from typing import Callable, List, Optional, Tuple

# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
CODE = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"
SECONDS = 0.1
# If two readings are further apart than this, an interrupt came between them.
NEAR_NS = 2000
TRIES = 1000


def _counter() -> Tuple[Callable[[], int], mmap.mmap]:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_uint64)(address), page


def _reading(counter: Callable[[], int]) -> Tuple[int, int]:
    """Returns the clock in nanoseconds and the counter at the same moment: the closest of many tries."""
    best: List[Tuple[int, int, int]] = []
    for _ in range(TRIES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        value = counter()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        best.append((after - before, (before + after) // 2, value))
        if after - before <= NEAR_NS:
            break
    _, clock, value = min(best)
    return clock, value


@lru_cache(maxsize=None)
def kilohertz() -> Optional[int]:
    """Returns the frequency of the counter, or None if it cannot be read."""
    if os.uname().machine != "x86_64":
        return None
    try:
        counter, _page = _counter()
    except OSError:
        # Some systems forbid memory that can be written and executed.
        return None
    start, first = _reading(counter)
    time.sleep(SECONDS)
    end, second = _reading(counter)
    return round((second - first) * 1_000_000 / (end - start))
