# SPDX-License-Identifier: Apache-2.0
"""What the cloud's own services say, as values. Nothing here knows the database.

Whatever goes wrong on the way leaves as :class:`CloudError`: it means that nothing is known, never
that something is not there.
"""


class CloudError(Exception):
    """A service of the cloud did not answer, or not what was asked; the message is one line."""
