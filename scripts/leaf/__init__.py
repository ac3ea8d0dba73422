# SPDX-License-Identifier: GPL-2.0
"""The parts of the leaf check; ../leafcheck.py explains what the check proves."""


class Misuse(Exception):
    """An error in the arguments of the check; the text tells what to do."""
