# SPDX-License-Identifier: Apache-2.0
import pytest

from nova_diskaudit import audit, explain
from nova_diskaudit.cmd import main as program


def test_what_is_asked_and_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def refuse(options: audit.Options, instance: str, target: str) -> object:
        asked.append((options.timeout, options.ask_guests, instance, target))
        raise audit.AuditError("no domain 'x'; virsh list --all shows them")

    monkeypatch.setattr(explain, "explain", refuse)
    assert program.main(["explain", "x", "vda", "--timeout", "9", "--no-guest"]) == 2
    assert asked == [(9.0, False, "x", "vda")]
    assert capsys.readouterr() == (
        "",
        "nova-diskaudit: no domain 'x'; virsh list --all shows them\n",
    )
