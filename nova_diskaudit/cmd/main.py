# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit``: the command line, and the one place where its errors become words.

Exit status: 0 all well; 1 some instance could not be audited (it is listed with its code);
2 wrong usage, or no answer at all, and one line on stderr says what to do. 130 and 141 are those
of an interrupted program and of a closed pipe; 70 is a defect of this program.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from typing import NoReturn

from nova_diskaudit.cmd import UsageError, stdout

PROGRAM = "nova-diskaudit"

UNUSABLE = 2
DEFECT = 70
INTERRUPTED = 130
PIPE_CLOSED = 141

# Python packages of the [agent] extra: their absence is the installation's fault, not a defect.
_EXTRA = {"libvirt", "libvirt_qemu", "oslo_config", "oslo_log", "prometheus_client", "rich"}


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line instead of a page."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings, allow_abbrev=False)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (try: {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:
        stdout.write(message)  # argparse itself would swallow a full disk


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        stdout.write(f"{PROGRAM} {metadata.version(PROGRAM)}\n")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The whole command line. Defaults that a configuration file may change are None here."""
    top = _Parser(
        prog=PROGRAM,
        description="What the disks of every libvirt domain on this host were promised, what "
        "the storage holds for them, what the guests say they use, and why the usual numbers "
        "disagree.",
        epilog="Exit status: 0 all well; 1 some instance could not be audited (it is listed "
        "with its code); 2 wrong usage or no connection.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )

    audit = commands.add_parser(
        "audit",
        help="every disk of every instance",
        description="Audit every disk of every instance of this host, or of those named.",
    )
    _common(audit)
    audit.add_argument(
        "--instance",
        action="append",
        default=[],
        metavar="UUID-OR-NAME",
        help="audit only this instance (may be repeated)",
    )
    audit.add_argument(
        "--format",
        choices=("table", "json", "prometheus"),
        default="table",
        help="default: table",
    )
    audit.add_argument("--wide", action="store_true", help="table: all numbers, to the byte")
    audit.add_argument(
        "--from-agent",
        action="store_true",
        help="show what the agent of this host knows, at once; libvirt is not asked",
    )
    audit.set_defaults(module="nova_diskaudit.cmd.audit")

    explain = commands.add_parser(
        "explain",
        help="the story of one disk",
        description="Explain one disk: each number libvirt shows, where it comes from, what "
        "the storage and the guest say, and how the verdict was reached.",
    )
    explain.add_argument("instance", metavar="INSTANCE", help="UUID or name of the domain")
    explain.add_argument("disk", metavar="DISK", help="target of the disk, such as vda")
    _common(explain)
    explain.add_argument("--json", action="store_true", help="the story as JSON")
    explain.set_defaults(module="nova_diskaudit.cmd.explain")

    doctor = commands.add_parser(
        "doctor",
        help="whether all that the agent needs is there",
        description="Look at everything that the agent of this host needs, change nothing, and "
        "say what to do. Exit status: 0 all well or skipped; 1 warnings or errors; 2 wrong usage.",
    )
    doctor.add_argument(
        "--config-file",
        metavar="FILE",
        help="oslo.config file (default: those in /etc/nova-diskaudit)",
    )
    doctor.add_argument("--json", action="store_true", help="the checks as JSON")
    doctor.set_defaults(module="nova_diskaudit.cmd.doctor")

    schema = commands.add_parser(
        "schema",
        help="the JSON Schema of audit --format json",
        description="Print the JSON Schema of what audit --format json prints.",
    )
    schema.set_defaults(module="nova_diskaudit.cmd.schema")
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--connect", metavar="URI", help="libvirt connection (default: qemu:///system)"
    )
    command.add_argument(
        "--no-guest",
        action="store_true",
        help="do not ask guest agents; read-only access is enough",
    )
    command.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="end after this time with what is known (default: 60)",
    )
    command.add_argument(
        "--path-map",
        action="append",
        default=[],
        metavar="FROM=TO",
        help="where a path of the domain XML is found on this host (may be repeated)",
    )
    command.add_argument(
        "--config-file", metavar="FILE", help="oslo.config file; the command line wins over it"
    )
    command.add_argument("--debug", action="store_true", help="log what is done, on stderr")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86400:
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"  # argparse says: invalid <name> value


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    try:
        return _run(argv)
    except UsageError as error:
        return complain(str(error))
    except stdout.WriteError as error:
        return complain(str(error))
    except stdout.ClosedError:
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _EXTRA:
            return complain(
                f"the Python package {missing} is missing: pip install 'nova-diskaudit[agent]'"
            )
        return _defect()
    except Exception:
        return _defect()


def _run(argv: list[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as leaving:  # --help and --version have been printed
        return int(leaving.code or 0)
    status: int = importlib.import_module(arguments.module).run(arguments)
    return status


def complain(message: str) -> int:
    """Say what to do, in one line on stderr."""
    from nova_diskaudit.text import printable

    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # nobody listens
            print(f"{PROGRAM}: {printable(' '.join(message.split()), 1000)}", file=sys.stderr)
    return UNUSABLE


def _defect() -> int:
    """Python's own status for this would be 1, which means something else here."""
    import traceback

    traceback.print_exc()
    return DEFECT


if __name__ == "__main__":
    sys.exit(main())
