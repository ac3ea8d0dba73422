# SPDX-License-Identifier: GPL-2.0
"""
The library that the commands in scripts/ and the checks share.
"""
