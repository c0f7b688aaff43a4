# SPDX-License-Identifier: Apache-2.0
"""``/``: which versions there are, for openstacksdk and for people."""

from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas.common import Link
from nova_diskaudit.api.schemas.root import Version, Versions

_VERSIONS = Versions(
    versions=(
        Version(
            id="v1.0",
            status="CURRENT",
            min_version="1.0",
            max_version="1.0",
            # Empty: the catalog's own URL, wherever a proxy has mounted it. Paths begin with /v1/.
            links=(Link(rel="self", href=""), Link(rel="alternate", href="page")),
        ),
    )
)


def shown(call: Call) -> Answer:
    """The one version."""
    return Answer(_VERSIONS)
