# SPDX-License-Identifier: Apache-2.0
"""Which libvirt URIs can be audited. Pure text: no libvirt, no look at the host."""

from __future__ import annotations

import re
import urllib.parse

# driver[+transport]://[user@][host][:port]/path[?parameters] (libvirt 9.0, docs/uri.rst)
_FORM = re.compile(r"(?P<driver>[a-z0-9]+)(\+(?P<transport>[a-z0-9]+))?://(?P<rest>.*)", re.DOTALL)
_MAX_CHARACTERS = 4096


def problem(uri: str) -> str | None:
    """Tell why ``uri`` cannot be audited, in one clause; None when it can.

    Only a QEMU driver on this host can: what a disk holds is read from the storage this process
    sees. ``qemu+unix`` is local; every other transport, and every host name, is not (a host name
    without a transport means TLS).
    """
    if len(uri) > _MAX_CHARACTERS or not uri.isprintable():
        return "it is not a libvirt URI"
    match = _FORM.fullmatch(uri)
    if match is None:
        return "it is not a libvirt URI (an example is qemu:///system)"
    if match["driver"] != "qemu":
        return f"its driver is {match['driver']!r}, and only qemu can be audited"
    if match["transport"] not in (None, "unix"):
        return f"its transport {match['transport']!r} is remote, and disks are read on this host"
    try:
        parts = urllib.parse.urlsplit("//" + match["rest"])
    except ValueError:
        return "it is not a libvirt URI"
    if parts.netloc:
        return f"it names the host {parts.netloc!r}, and disks are read on this host"
    if parts.path not in ("/system", "/session"):
        return f"its path is {parts.path!r}, and only /system or /session can be audited"
    return None
