# SPDX-License-Identifier: Apache-2.0
"""The directive ``findings-catalogue``: the page of findings comes from the catalogue itself."""

from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from nova_diskaudit import findings

SEVERITIES = ("error", "warning", "info")


def entries() -> Iterator[str]:
    """The lines of the page, as reStructuredText."""
    for severity in SEVERITIES:
        yield from (f".. rubric:: {severity}", "")
        for entry in findings.CATALOGUE.values():
            if entry.severity == severity:
                yield from (f".. _finding-{entry.code}:", "")
                yield f"``{entry.code}``"
                yield f"    {_plain(entry.cause)}"
                yield ""
                yield f"    *To do:* {_plain(entry.action)}"
                yield ""


def _plain(text: str) -> str:
    """Words that are no markup."""
    return "".join(f"\\{mark}" if mark in "\\*`_|" else mark for mark in text)


class Catalogue(SphinxDirective):
    """The directive; it takes nothing."""

    def run(self) -> list[nodes.Node]:
        """Parse the generated lines where the directive stands."""
        self.env.note_dependency(findings.__file__)
        holder = nodes.container()
        self.state.nested_parse(StringList(list(entries()), findings.__file__), 0, holder)
        return holder.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("findings-catalogue", Catalogue)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
