# SPDX-License-Identifier: Apache-2.0
"""Pictures of the page for its documentation: ``python -m tests.service.page.screenshots``.

The clock and the numbers are always the same, so a picture changes when the page does.
"""

from __future__ import annotations

import pathlib
import tempfile
from typing import NamedTuple

from PIL import Image

from tests.service.page import house as houses
from tests.service.page import scenery
from tests.service.page.visitor import Visitor, chromium

DIRECTORY = pathlib.Path(__file__).parents[3] / "doc/source/images"
#: What a picture may have.
MOST_BYTES = 150_000


class Picture(NamedTuple):
    """One picture of one view; ``height`` None: all of it."""

    name: str
    address: str
    title: str
    token: str = houses.OPERATOR
    width: int = 1080
    height: int | None = None
    scheme: str = "light"


PICTURES = (
    Picture("hosts", "#/hosts", "Hosts", height=480),
    Picture("host", "#/hosts/compute-2.example.org", "compute-2.example.org"),
    Picture("instances", "#/instances", "Instances"),
    Picture("instance", f"#/instances/{scenery.uuid('database')}", "database", height=1450),
    Picture(
        "instance-dark",
        f"#/instances/{scenery.uuid('ci-runner-3')}",
        "ci-runner-3",
        height=790,
        scheme="dark",
    ),
    Picture("project", f"#/projects/{scenery.SHOP}", scenery.SHOP),
    Picture("findings", "#/findings", "Findings", height=900),
    Picture("narrow", "#/instances", "Instances", token=houses.TENANT, width=360, height=760),
)


def main() -> None:
    """Take them all."""
    DIRECTORY.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        houses.opened(pathlib.Path(directory), hours=72, hostile=False) as house,
        chromium() as browser,
    ):
        for picture in PICTURES:
            visitor = Visitor(browser, house.url, width=picture.width, scheme=picture.scheme)  # type: ignore[arg-type]  # a text to the table
            visitor.open(picture.address)
            visitor.sign_in(picture.token, expect=picture.title)
            visitor.page.evaluate("document.activeElement.blur()")
            file = DIRECTORY / f"page-{picture.name}.png"
            if picture.height is None:
                visitor.page.screenshot(path=file, full_page=True)
            else:
                visitor.page.set_viewport_size({"width": picture.width, "height": picture.height})
                visitor.page.screenshot(path=file)
            visitor.close()
            assert visitor.complaints == []
            with Image.open(file) as image:
                # A page has few colours: a palette of them is a third of the size.
                image.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
            size = file.stat().st_size
            assert size < MOST_BYTES, f"{file} has {size} bytes"
            print(f"{file.name}: {size} bytes")


if __name__ == "__main__":
    main()
