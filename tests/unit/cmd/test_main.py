# SPDX-License-Identifier: Apache-2.0
"""The command line as an operator meets it: words, exit status, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from nova_diskaudit import audit, record
from nova_diskaudit.cmd import main as program
from tests.unit.render import sample

COMMAND = [sys.executable, "-m", "nova_diskaudit.cmd.main"]

Sweep = Callable[[audit.Options], record.HostReport]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[audit.Options]:
    """An engine that answers with the sample report and remembers what it was asked."""
    options: list[audit.Options] = []

    def sweep(wanted: audit.Options) -> record.HostReport:
        options.append(wanted)
        return sample.report()

    monkeypatch.setattr(audit, "sweep", sweep)
    return options


def _sweeping(monkeypatch: pytest.MonkeyPatch, outcome: object) -> None:
    def sweep(options: audit.Options) -> object:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(audit, "sweep", sweep)


def _healthy() -> record.HostReport:
    return record.HostReport(
        schema="1.0",
        host="compute-1",
        as_of=sample.AS_OF,
        storages=(),
        instances=(sample.seed(), sample.silent()),
    )


# --- exit status ------------------------------------------------------------------------------


def test_all_well_is_0_and_a_silent_guest_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _sweeping(monkeypatch, _healthy())
    assert program.main(["audit"]) == 0


def test_an_instance_that_could_not_be_audited_is_1(
    asked: list[audit.Options], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["audit"]) == 1
    out, err = capsys.readouterr()
    assert "domain-unreadable" in out and err == ""


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "COMMAND"),
        (["aduit"], "aduit"),
        (["audit", "--nonsense"], "--nonsense"),
        (["audit", "--inst", "x"], "--inst"),
        (["audit", "--format", "xml"], "xml"),
        (["audit", "--timeout", "soon"], "number of seconds value: 'soon'"),
        (["audit", "--timeout", "0"], "'0'"),
        (["audit", "--timeout", "nan"], "'nan'"),
        (["audit", "--wide", "--format", "json"], "--wide is for --format table"),
        (["audit", "--path-map", "/a:/b"], "FROM=TO"),
        (["audit", "--path-map", "a=/b"], "absolute"),
        (["audit", "--config-file", "/nonexistent/\x1b[31m.conf"], "/nonexistent/\\x1b[31m.conf"),
        (["explain", "one"], "DISK"),
    ],
)
def test_wrong_usage_is_2_with_one_line(
    argv: list[str],
    says: str,
    asked: list[audit.Options],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err
    assert err.startswith("nova-diskaudit: ") and err.count("\n") == 1 and err.strip().isprintable()
    assert asked == []


def test_the_engine_s_refusal_is_2_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _sweeping(monkeypatch, audit.AuditError("cannot connect to qemu:///x\nstart\x07 libvirtd"))
    assert program.main(["audit", "--connect", "qemu:///x"]) == 2
    assert capsys.readouterr().err == (
        "nova-diskaudit: cannot connect to qemu:///x start\\x07 libvirtd\n"
    )


def test_ctrl_c_is_130_and_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _sweeping(monkeypatch, KeyboardInterrupt())
    assert program.main(["audit"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_missing_library_is_told_before_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
    asked: list[audit.Options],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "nova_diskaudit.render.table", raising=False)
    monkeypatch.delattr("nova_diskaudit.render.table", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert program.main(["audit"]) == 2
    assert "pip install 'nova-diskaudit[agent]'" in capsys.readouterr().err
    assert asked == []


def test_a_defect_is_neither_1_nor_2_and_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _sweeping(monkeypatch, ZeroDivisionError("a bug"))
    assert program.main(["audit"]) == 70
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


# --- options ----------------------------------------------------------------------------------


def test_defaults(asked: list[audit.Options]) -> None:
    program.main(["audit"])
    (options,) = asked
    assert options.uri == "qemu:///system"
    assert options.timeout == 60
    assert options.ask_guests is True
    assert options.instances == () and options.path_map == ()
    assert options.state_path is None and options.instances_path is None
    assert options.progress is None  # stderr is no terminal here


def test_the_command_line(asked: list[audit.Options]) -> None:
    line = (
        "audit --connect test:///x --instance a --instance b --no-guest --timeout 2.5 "
        "--path-map /var/lib/nova=/srv/nova --path-map /x=/y"
    )
    program.main(line.split())
    (options,) = asked
    assert options.uri == "test:///x"
    assert options.instances == ("a", "b")
    assert options.ask_guests is False
    assert options.timeout == 2.5
    assert options.path_map == (("/var/lib/nova", "/srv/nova"), ("/x", "/y"))


def test_formats(asked: list[audit.Options], capsys: pytest.CaptureFixture[str]) -> None:
    program.main(["audit", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["host"] == "compute-1"
    program.main(["audit", "--format", "prometheus"])
    assert capsys.readouterr().out.startswith("# HELP nova_diskaudit_report_info ")
    program.main(["audit", "--wide"])
    assert "2,147,483,648" in capsys.readouterr().out


# --- the process ------------------------------------------------------------------------------


def _run(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *argv], capture_output=True, text=True, timeout=60, **more)


_WHAT_HELP_LOADS = """
import sys
from nova_diskaudit.cmd import main
status = main.main(["--help"])
names = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(status, *sorted(names), file=sys.stderr)
"""


def test_help_is_there_in_a_blink() -> None:
    """It loads no library: each would cost more than all the rest."""
    command = [sys.executable, "-I", "-c", _WHAT_HELP_LOADS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, *loaded = done.stderr.split()
    assert status == "0"
    # An editable installation has finders of its own.
    ours = {name for name in loaded if not name.startswith(("_", "__editable__"))}
    assert ours - {"nova_diskaudit", "site", "sitecustomize"} == set()


@pytest.mark.parametrize("argv", [["--help"], ["audit", "--help"], ["explain", "--help"]])
def test_help_goes_to_stdout(argv: list[str]) -> None:
    done = _run(*argv)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: nova-diskaudit")


def test_version() -> None:
    done = _run("--version")
    assert done.returncode == 0 and done.stdout.startswith("nova-diskaudit ")


@pytest.mark.parametrize("argv", [["--help"], ["schema"], ["--version"]])
def test_a_full_disk_is_one_line(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *argv], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "nova-diskaudit: cannot write to standard output: No space left on device\n"
    )


@pytest.mark.parametrize("argv", [["--help"], ["schema"]])
def test_a_reader_that_left_is_no_error_to_talk_about(argv: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run([*COMMAND, *argv], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_no_stdout_at_all() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "schema"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("nova-diskaudit: standard output is closed")


def test_an_output_narrower_than_unicode(tmp_path: object) -> None:
    code = (
        "from nova_diskaudit.cmd import stdout; "
        "stdout.write('M\\u00fcller \\ud800 \\u2026\\n'); print('still there')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout == "M\\xfcller \\ud800 \\u2026\nstill there\n"
