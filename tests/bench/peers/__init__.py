# SPDX-License-Identifier: Apache-2.0
"""Side by side with the peers: the same disks, the same minutes, each tool as its users run it.

    python -m tests.bench.peers --domains 100 --rounds 3 --output doc/source/peers

A peer is a small module with a class of :class:`.peer.Peer`'s shape. What it reports is held
against the bytes that the storage holds (``du``), field by field, since the same name means
different bytes in different tools, and against what the guests themselves say they use.

The benchmark has parts. A part is a module of this package with

* ``NAME``, a word;
* ``measure(options, say)``, which gives a dict of what JSON knows, and prints how it goes by
  ``say(text)``; pictures and the like it writes to ``options.output``;
* ``render(part)``, which makes Markdown of such a dict: headings from the third level on (the page
  has those above), and pictures as files that lie beside the page.

and stands in :data:`tests.bench.peers.__main__.PARTS`. The results of all parts stand in one file,
``peers.json`` (:mod:`.result`); a run replaces those of the parts that it was asked for. Beside
that file lies the page, ``index.md``, into which each part is rendered (:mod:`.page`).
"""
