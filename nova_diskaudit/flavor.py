# SPDX-License-Identifier: Apache-2.0
"""What an operator may say to nova-diskaudit in the extra specs of a Nova flavor. Pure.

Nova's API validates them by :mod:`nova_diskaudit.scheduler.extra_specs`, the agent reads them in
the domain's metadata.
"""

from __future__ import annotations

from typing import Literal

#: Ask the guest if it can be asked; report it when it does not tell; or leave it alone.
GuestStats = Literal["optional", "required", "off"]
GUEST_STATS = "diskaudit:guest_stats"
