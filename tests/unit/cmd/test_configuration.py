# SPDX-License-Identifier: Apache-2.0
"""The configuration file, and who wins."""

from __future__ import annotations

import logging
import pathlib
import re
from collections.abc import Iterator

import pytest
from oslo_config import generator

from nova_diskaudit import audit, conf, record
from nova_diskaudit.audit.options import Deadlines
from nova_diskaudit.cmd import main as program
from nova_diskaudit.conf import opts
from tests.unit.render import sample

FILE = """
[hypervisor]
connection_uri = qemu:///system?socket=/run/other

[audit]
timeout = 7.5
inventory_timeout = 20
describe_timeout = 4
storage_timeout = 1.5
evidence_timeout = 6
evidence = false
agent_timeout = 2
path_map = /var/lib/nova=/srv/nova
path_map = /var/lib/libvirt=/srv/libvirt
instances_path = /srv/instances
managed_save_path = /srv/save
state_path = /srv/state

[guest]
enabled = false
"""


@pytest.fixture(autouse=True)
def same_logging_afterwards() -> Iterator[None]:
    """oslo.log takes the root logger over."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "diskaudit.conf"
    path.write_text(FILE)
    return str(path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[audit.Options]:
    options: list[audit.Options] = []

    def sweep(wanted: audit.Options) -> record.HostReport:
        options.append(wanted)
        return sample.report()

    monkeypatch.setattr(audit, "sweep", sweep)
    return options


def test_everything_that_can_be_set(path: str) -> None:
    assert conf.load(path) == conf.Settings(
        uri="qemu:///system?socket=/run/other",
        timeout=7.5,
        path_map=(("/var/lib/nova", "/srv/nova"), ("/var/lib/libvirt", "/srv/libvirt")),
        instances_path="/srv/instances",
        managed_save_path="/srv/save",
        state_path="/srv/state",
        inventory_timeout=20.0,
        describe_timeout=4.0,
        storage_timeout=1.5,
        evidence_timeout=6.0,
        agent_timeout=2.0,
        ask_guests=False,
        ask_evidence=False,
    )


def test_an_empty_file_gives_the_defaults(tmp_path: pathlib.Path) -> None:
    empty = tmp_path / "empty.conf"
    empty.touch()
    assert conf.load(str(empty)) == conf.Settings()


def test_the_file_reaches_the_engine(path: str, asked: list[audit.Options]) -> None:
    program.main(["audit", "--config-file", path])
    (options,) = asked
    assert options.uri == "qemu:///system?socket=/run/other"
    assert options.state_path == pathlib.Path("/srv/state")
    assert options.instances_path == "/srv/instances"
    assert options.managed_save_path == "/srv/save"
    assert options.deadlines == Deadlines(
        inventory=20.0, describe=4.0, storage=1.5, evidence=6.0, agent=2.0
    )
    assert options.ask_guests is False
    assert options.ask_evidence is False


def test_the_command_line_wins(path: str, asked: list[audit.Options]) -> None:
    line = f"audit --config-file {path} --connect x:/// --timeout 1 --path-map /a=/b"
    program.main(line.split())
    (options,) = asked
    assert (options.uri, options.timeout, options.path_map) == ("x:///", 1.0, (("/a", "/b"),))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[audit]\ntimeout = soon\n", "timeout"),
        ("[audit]\ntimeout = 0\n", "timeout"),
        ("[audit]\npath_map = /a:/b\n", "FROM=TO"),
        ("[guest]\nenabled = perhaps\n", "enabled"),
        ("nonsense\n", "diskaudit.conf"),
        ("\x00\xff", "diskaudit.conf"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    text: str,
    says: str,
    tmp_path: pathlib.Path,
    asked: list[audit.Options],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "diskaudit.conf"
    path.write_text(text, encoding="latin-1")
    assert program.main(["audit", "--config-file", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error and str(path) in error
    assert asked == []


def test_a_directory_is_no_file(
    tmp_path: pathlib.Path, asked: list[audit.Options], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["audit", "--config-file", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_options_as_the_generator_sees_them() -> None:
    listed = {
        group.name if group else "DEFAULT": {one.dest: one for one in options}
        for group, options in opts.list_opts()
    }
    assert set(listed) == {
        "DEFAULT", "hypervisor", "audit", "guest", "agent", "exporter", "publisher", "disk_audit",
    }  # fmt: skip
    # Names and defaults that others rely on.
    assert "host" in listed["DEFAULT"]
    assert listed["hypervisor"]["connection_uri"].default == "qemu:///system"
    assert listed["agent"]["interval"].default == 300
    assert listed["agent"]["state_path"].default == "/var/lib/nova-diskaudit"
    assert listed["guest"]["enabled"].default is True
    assert listed["exporter"]["listen"].default == "127.0.0.1:9752"
    assert listed["publisher"]["enabled"].default is False
    assert {"auth_type", "auth_url", "region_name", "endpoint_override"} <= set(
        listed["disk_audit"]
    )
    of_the_engine = (listed[name] for name in ("hypervisor", "audit", "guest"))
    assert sum(map(len, of_the_engine)) == len(conf.Settings._fields)
    assert all(one.help for options in listed.values() for one in options.values())


def test_the_sample_file_is_what_the_generator_makes(tmp_path: pathlib.Path) -> None:
    root = pathlib.Path(__file__).parents[3]
    made = tmp_path / "sample"
    generator.main(
        [
            "--config-file",
            str(root / "etc/nova-diskaudit/config-generator.conf"),
            "--output-file",
            str(made),
        ]
    )
    kept = root / "etc/nova-diskaudit/nova-diskaudit.conf.sample"
    how = "oslo-config-generator --config-file etc/nova-diskaudit/config-generator.conf"
    ours, theirs = _apart(made.read_text())
    assert _apart(kept.read_text())[0] == ours, how
    # keystoneauth words its own help as it likes, from release to release.
    names = {line for line in theirs.splitlines() if re.match(r"#\w+ = ", line)}
    assert names <= set(_apart(kept.read_text())[1].splitlines()), how


def _apart(sample_file: str) -> tuple[str, str]:
    """Our own sections, and ``[disk_audit]``."""
    before, _, rest = sample_file.partition("\n[disk_audit]\n")
    inside, mark, after = rest.partition("\n[")
    return before + mark + after, inside
