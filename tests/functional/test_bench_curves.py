# SPDX-License-Identifier: Apache-2.0
"""The scale curves of the peers' benchmark in small: every curve, two points each.

What an audit tells is held against what is there by the benchmark itself.
"""

from __future__ import annotations

import pathlib
import xml.etree.ElementTree as ElementTree

from tests.bench.peers import curves
from tests.bench.peers.result import Options


def test_every_curve_has_its_points_and_pictures(tmp_path: pathlib.Path) -> None:
    part = curves.measure(Options(tmp_path, domains=curves.SMALLEST - 1), print)
    sizes = {key: tuple(p["x"] for p in one["points"]) for key, one in part["curves"].items()}
    small = curves.SMOKE
    assert sizes == {
        "domains": small.domains,
        "disks": small.disks,
        "chains": small.chains,
        "mounts": small.mounts,
    }
    text = curves.render(part)
    pictures = {path.name for path in tmp_path.iterdir()}
    assert len(pictures) == 2 * len(sizes)
    for name in pictures:
        assert f"]({name})" in text
        assert ElementTree.parse(tmp_path / name).getroot().get("role") == "img"
