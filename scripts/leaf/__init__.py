# SPDX-License-Identifier: GPL-2.0
"""The parts of the leaf check; see ../leafcheck.py for what it proves."""


class Misuse(Exception):
    """The check cannot be done with what it was given; the text says what to do."""
