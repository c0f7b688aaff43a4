# SPDX-License-Identifier: Apache-2.0
"""Entry points: words from a command line in, exit status out. Thin; nothing is decided here.

A command that is only asked for its help must start in a blink, so module level imports are
``argparse`` and the like; the engine, the renderers and oslo are imported where they are used.
"""


class UsageError(Exception):
    """What was asked cannot be done; the message tells the operator in one line."""
