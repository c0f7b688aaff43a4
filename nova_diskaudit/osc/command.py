# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the client, the formats, and errors as one line.

Commands answer with an :class:`Answer`; how it looks in which of the client's formats is decided
here.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import datetime
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import requests
from cliff import columns
from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
from osc_lib.command import command

from nova_diskaudit.osc import fields as field_words
from nova_diskaudit.osc import plugin
from nova_diskaudit.osc.fields import TABLE, Field, Row, Shown
from nova_diskaudit.text import printable

if TYPE_CHECKING:
    from nova_diskaudit.sdk._proxy import DiskAuditProxy

    _Column = columns.FormattableColumn[Any]
else:
    _Column = columns.FormattableColumn  # not generic in older releases

SERVICE_TYPE = "disk-audit"
_WORDS_LIMIT = 400
#: Of an error's body. The service's own are short.
_BODY_LIMIT = 65536


class Screen(NamedTuple):
    """Where people read: characters a line, and whether ``text`` can be shown there."""

    columns: int
    can_show: Callable[[str], bool]


class Answer(NamedTuple):
    """What a command found out.

    ``instead``: the sentence for people when there is nothing to tabulate. ``below``: what people
    read after the table; it is given their screen, or None when that is no terminal.
    """

    fields: Sequence[Field]
    rows: Sequence[Row]
    instead: str | None = None
    below: Callable[[Screen | None], str] | None = None


class _Cell(_Column):
    """Words in a table that are sorted by what they mean; what is unknown comes last."""

    def __init__(self, shown: Shown) -> None:
        super().__init__(shown.value)
        self._text = shown.text

    def human_readable(self) -> str:
        return self._text

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Cell) or self._value is None:
            return False
        return other._value is None or bool(self._value < other._value)


class _Answering(command.Command):
    """A command whose answer is an :class:`Answer`, or for a list of one several rows."""

    @abc.abstractmethod
    def answer(self, parsed_args: argparse.Namespace) -> Answer:
        """Ask the service."""

    @property
    def disk_audit(self) -> DiskAuditProxy:
        """The service."""
        # The client sets it by the plugin's API_NAME.
        found: DiskAuditProxy = getattr(self.app.client_manager, plugin.API_NAME)
        return found

    def _found(self, parsed_args: argparse.Namespace) -> tuple[list[str], list[list[Any]]]:
        with plainly(self.app.client_manager):
            self._answer = self.answer(parsed_args)
        form, fields, rows = parsed_args.formatter, self._answer.fields, self._answer.rows
        parsed_args.columns = field_words.named(fields, parsed_args.columns, form)
        if hasattr(parsed_args, "sort_columns"):
            parsed_args.sort_columns = field_words.named(fields, parsed_args.sort_columns, form)
        names = field_words.headings(fields, form)
        if form == TABLE:
            shown = field_words.for_people(fields, rows, self._encoding)
            return names, [[_Cell(cell) for cell in cells] for cells in shown]
        return names, field_words.for_programs(fields, rows, form, self._encoding)

    def _is_said_instead(self, parsed_args: argparse.Namespace) -> bool:
        """Say the sentence, if there is one; whether that was all."""
        sentence = self._answer.instead
        if sentence is None:
            return False
        words = self._fit(printable(sentence, None))
        if parsed_args.formatter == TABLE:
            self.app.stdout.write(f"{words}\n")
            return True
        # Programs get their empty list; whoever sits before them reads why.
        self.app.stderr.write(f"{words}\n")
        return False

    def _say_below(self, parsed_args: argparse.Namespace) -> None:
        below = self._answer.below
        if below is not None and parsed_args.formatter == TABLE:
            self.app.stdout.write(self._fit(below(self._screen)))

    def _fit(self, words: str) -> str:
        return field_words.fit(words, self._encoding)

    @property
    def _encoding(self) -> str:
        return getattr(self.app.stdout, "encoding", None) or "utf-8"

    @property
    def _screen(self) -> Screen | None:
        out = self.app.stdout
        if not out.isatty():
            return None
        return Screen(shutil.get_terminal_size().columns, lambda text: self._fit(text) == text)


class Lister(_Answering, command.Lister):
    """A command that lists."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[list[str], list[list[Any]]]:
        """Ask, and leave the rest to the client."""
        return self._found(parsed_args)

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """A table, or the sentence in its place."""
        if not self._is_said_instead(parsed_args):
            super().produce_output(parsed_args, column_names, data)
            self._say_below(parsed_args)
        return 0


class ShowOne(_Answering, command.ShowOne):
    """A command that shows one thing: its answer has one row."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[list[str], list[Any]]:
        """Ask, and leave the rest to the client."""
        names, rows = self._found(parsed_args)
        return names, rows[0]

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """The fields, or the sentence in their place."""
        if not self._is_said_instead(parsed_args):
            super().produce_output(parsed_args, column_names, data)
            self._say_below(parsed_args)
        return 0


def now() -> datetime.datetime:
    """The time by which ages are told."""
    return datetime.datetime.now(datetime.UTC)


@contextlib.contextmanager
def plainly(manager: Any) -> Iterator[None]:
    """Errors of the service, of Keystone and of what lies between, as one line that says which."""
    try:
        yield
    except sdk_exceptions.HttpException as error:
        raise exceptions.CommandError(_refused(error)) from error
    except (
        sdk_exceptions.EndpointNotFound,
        sdk_exceptions.ServiceDisabledException,
        ksa_exceptions.EndpointNotFound,
    ) as error:
        raise exceptions.CommandError(_missing(manager)) from error
    except ksa_exceptions.ConnectFailure as error:
        raise exceptions.CommandError(_unreached(error)) from error
    except (sdk_exceptions.SDKException, ksa_exceptions.ClientException) as error:
        raise exceptions.CommandError(_words(error)) from error
    except (requests.exceptions.JSONDecodeError, AttributeError, LookupError, TypeError) as error:
        # --debug shows where.
        raise exceptions.CommandError(
            f"What answers there is no {SERVICE_TYPE} service of this release: {_words(error)}"
        ) from error


def _missing(manager: Any) -> str:
    where = f"region {manager.region_name}" if manager.region_name else "any region"
    return (
        f"This cloud's catalog has no service {SERVICE_TYPE} for {where}, interface "
        f"{manager.interface or 'public'}. If it runs elsewhere, set disk_audit_endpoint_override "
        "in clouds.yaml"
    )


def _unreached(error: BaseException) -> str:
    """What could not be reached, and what the system says about it.

    The libraries between wrap that in words about their pools and retries.
    """
    where, cause = str(error).partition(": ")[0], error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return f"{printable(where)}: {_words(cause)}"


def _refused(error: sdk_exceptions.HttpException) -> str:
    status = error.response.status_code if error.response is not None else None
    detail = _detail(error)
    if status == 401:
        return f"Keystone's token is not accepted (401): {detail}"
    if status == 403:
        return f"You may not see this (403): {detail}"
    if status == 404:
        return f"Not found (404): {detail}"
    if status is not None and status >= 500:
        return f"The {SERVICE_TYPE} service cannot answer now ({status}): {detail}. Try again later"
    return f"Refused ({status}): {detail}"


def _detail(error: sdk_exceptions.HttpException) -> str:
    """The service's own words, or those of whatever answered in its place."""
    response = error.response
    if response is None:
        return _words(error)
    try:
        if len(response.content) > _BODY_LIMIT:
            raise ValueError("too long to be read")
        told = response.json()["errors"][0]["detail"]
    except (ValueError, LookupError, TypeError):
        told = response.reason or "without a reason"
    return printable(" ".join(str(told).split()), _WORDS_LIMIT).rstrip(".")


def _words(error: BaseException) -> str:
    """An exception in one line."""
    return printable(" ".join(str(error).split()), _WORDS_LIMIT)
