# SPDX-License-Identifier: Apache-2.0
"""A Prometheus of its own, which looks each second at what it is given."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tests.services import daemon, place


class Prometheus(daemon.Daemon):
    """One server.

    :param targets: addresses (``127.0.0.1:9752``) by the name of their job.
    :param rules: files of rules.
    """

    NAME: ClassVar[str] = "prometheus"

    def __init__(self, targets: Mapping[str, Sequence[str]], rules: Sequence[pathlib.Path]) -> None:
        super().__init__()
        self._targets = targets
        self._rules = rules

    @property
    def url(self) -> str:
        """Of its API and its pages."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        if shutil.which("prometheus") is None:
            raise place.ServiceError("Prometheus is not installed (Debian: prometheus)")
        for rules in self._rules:
            # Nobody, as whom it runs, may not be able to read where they are.
            shutil.copy(rules, self.directory / rules.name)
        (self.directory / "prometheus.yml").write_text(
            json.dumps(  # which is YAML
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(self.directory / rules.name) for rules in self._rules],
                    "scrape_configs": [
                        {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
                        for job, addresses in self._targets.items()
                    ],
                }
            )
        )

    def command(self) -> list[str]:
        return [
            "prometheus",
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
            return True
        return False

    def ask(self, path: str, **query: str) -> Any:
        """``data`` of what its API answers."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise place.ServiceError(f"{path} {query}: {error.read().decode()}") from None

    def values(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The samples of an expression now, by their labels."""
        found = self.ask("query", query=expression)
        assert found["resultType"] == "vector", found
        return {
            tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found["result"]
        }
