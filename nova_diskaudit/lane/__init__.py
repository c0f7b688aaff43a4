# SPDX-License-Identifier: Apache-2.0
"""The child processes in which every call runs that may hang for ever.

A libvirt call cannot be cancelled and a stat on dead storage cannot be interrupted, so each
kind of call has its own lane: ``storage`` (stat, /proc), ``monitor`` (what libvirt knows,
read-only), ``evidence`` (what libvirt asks QEMU, read-only) and ``guest`` (read-write). The
audit uses :class:`nova_diskaudit.lane.lanes.Lanes` and the table
:mod:`nova_diskaudit.lane.operations`; ``worker``, ``connection`` and ``__main__`` run in the
child only. The parent never imports libvirt, nor ``host``, nor ``guest``.
"""
