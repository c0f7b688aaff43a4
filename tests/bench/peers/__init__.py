# SPDX-License-Identifier: Apache-2.0
"""Side by side with the peers: the same disks, the same minute, each tool as its users run it.

    python -m tests.bench.peers --domains 100 --rounds 5 --json peers.json

A peer is a small module with a class of :class:`.peer.Peer`'s shape. What it reports is held
against the bytes that the host's filesystem holds (``du``), field by field, since the same name
means different bytes in different tools. Nothing is judged beyond that comparison.
"""
