# SPDX-License-Identifier: GPL-2.0

from typing import Callable


def slow(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test of a second or more, which `make check-quick` leaves out."""
    vars(test)["slow"] = True
    return test
