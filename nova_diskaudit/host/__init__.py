# SPDX-License-Identifier: Apache-2.0
"""What the host says: libvirt's inventory and block statistics, and the storage underneath.

Plain calls that may hang for ever, because a libvirt call cannot be cancelled and a stat on dead
storage cannot be interrupted. So they run only inside a lane (:mod:`nova_diskaudit.lane`), and
nothing here has a thread, a deadline or a configuration of its own.
"""
