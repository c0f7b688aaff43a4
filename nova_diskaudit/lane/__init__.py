# SPDX-License-Identifier: Apache-2.0
"""The child processes in which every call runs that may hang for ever.

A libvirt call cannot be cancelled and a stat on dead storage cannot be interrupted, so each
kind of call has its own lane: ``storage`` (stat, /proc), ``monitor`` (what libvirt knows,
read-only), ``evidence`` (what libvirt asks QEMU, read-only), ``guest`` (read-write) and ``events``
(what libvirt tells by itself). All are forked from one more process, the nursery, which has
imported what they need.

The audit uses :class:`nova_diskaudit.lane.lanes.Lanes` and the table
:mod:`nova_diskaudit.lane.operations`. Pairs of modules are two sides of a socket: ``nursery`` and
``forker`` (they speak ``births``), ``child`` and ``worker`` (they speak ``wire``). ``forker``,
``worker``, ``connection`` and ``__main__`` run in children only. The parent never imports libvirt,
nor ``host``, nor ``guest``.
"""
