# SPDX-License-Identifier: Apache-2.0
"""The service of one compute node: cycles, memory, events, outputs, and what the centre gets.

``cycle`` observes through lanes and remembers; ``spool`` and ``publish`` carry its states to the
central service; ``exporter``, ``local`` and ``textfile`` show the newest one on this host.
``service`` holds the threads together. libvirt is never imported here: only lanes do that.
"""
