# SPDX-License-Identifier: Apache-2.0
"""One report over the network: Keystone's token, the catalog's address, a PUT, its answer.

keystoneauth and openstacksdk do the talking. What they leave open is closed here: a request has
one deadline from beginning to end (their timeout is for each read of a socket, and a server that
sends a byte a second never meets it), an answer has a size, and nothing is tried twice.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import gzip
import http.client
import importlib.metadata
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import keystoneauth1.exceptions
import keystoneauth1.session
import msgspec
import openstack.connection
import openstack.exceptions
import requests
import urllib3
import urllib3.connection
from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit import protocol, sdk
from nova_diskaudit.agent.publish import Answer, why
from nova_diskaudit.conf import ConfigurationError, disk_audit
from nova_diskaudit.sdk._proxy import DiskAuditProxy

LOG = logging.getLogger(__name__)

#: Of any answer: a token with a large catalog is the longest.
MAX_ANSWER_BYTES = 4 * 2**20
_MAX_DETAIL = 300
# What a request that was cut off needs to notice it.
_GRACE_SECONDS = 1.0
_GROUP = disk_audit.GROUP.name
_CONNECTING = re.compile(
    r"(?:Unable to establish connection|SSL exception connecting) to \S+?(?=: )"
)


class Transport:
    """Sends reports by the group ``[disk_audit]``. Nothing is asked of the network yet.

    :raises ConfigurationError: for options that are missing or cannot be used.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._sockets = _Sockets()
        self._seconds = float(conf.publisher.timeout)
        self._worker: threading.Thread | None = None
        self._proxy: DiskAuditProxy | None = None
        self._endpoint: str | None = None
        try:
            disk_audit.register(conf)
            group = conf[_GROUP]
            self._auth = loading.load_auth_from_conf_options(conf, _GROUP)
            if self._auth is None:
                raise ConfigurationError(
                    f"[{_GROUP}] auth_type is not set: name a kind of credentials"
                    " (v3applicationcredential), or none"
                )
            self._http = _http_session(group, self._sockets)
            self._session = loading.session.Session().load_from_options(
                insecure=group.insecure,
                cacert=group.cafile,
                cert=group.certfile,
                key=group.keyfile,
                timeout=min(group.timeout, self._seconds),
                auth=self._auth,
                session=self._http,
                app_name="nova-diskaudit-agent",
                app_version=importlib.metadata.version("nova-diskaudit"),
                connect_retries=0,
            )
            self._where = {
                "service_type": group.service_type,
                "service_name": group.service_name,
                "interface": group.valid_interfaces,
                "region_name": group.region_name,
            }
            self._override = group.endpoint_override
            # openstacksdk takes a service's options by its name before each (oslo.limit does so).
            self._options = {
                f"{sdk.ATTRIBUTE}_service_type": group.service_type,
                f"{sdk.ATTRIBUTE}_connect_retries": group.connect_retries,
                f"{sdk.ATTRIBUTE}_status_code_retries": group.status_code_retries,
            }
        except (
            cfg.Error,
            ValueError,
            OSError,
            keystoneauth1.exceptions.ClientException,
        ) as error:
            raise ConfigurationError(f"[{_GROUP}] {_line(str(error))}") from error

    def send(self, report: protocol.Report) -> Answer:
        """One request, ended by the deadline whatever the other side does. It never raises."""
        data = protocol.encode(report)
        if len(data) > protocol.MAX_REPORT_BYTES:
            return Answer(
                status=413,
                detail=f"{len(data)} bytes, and a service takes {protocol.MAX_REPORT_BYTES};"
                " it was not sent",
            )
        return self._in_time(lambda: self._put(report.host, gzip.compress(data, 6, mtime=0)))

    def check(self, host: str) -> Iterator[tuple[str, str | None]]:
        """What a report needs, step by step: (what, why it failed or None).

        The last step sends an empty report. Who may report for ``host`` is told that it is none
        (400), everybody else is refused before.
        """
        for what, ask in (("a token", self._session.get_token), ("an endpoint", self._service)):
            answer = self._in_time(lambda ask=ask: self._step(ask))  # type: ignore[misc]
            yield what, answer.detail
            if answer.detail is not None:
                return
        answer = self._in_time(lambda: self._put(host, gzip.compress(b"")))
        yield f"a report of {host}", None if answer.status == 400 else why(answer)

    # --- the deadline -------------------------------------------------------------------------

    def _in_time(self, ask: Callable[[], Answer]) -> Answer:
        """The answer of ``ask``, which runs in a thread of its own."""
        until = time.monotonic() + self._seconds
        if self._worker is not None:
            # Name resolution cannot be cut off. One such thread at most is left behind.
            self._worker.join(self._seconds)
            if self._worker.is_alive():
                return Answer(status=None, detail="an earlier request still hangs")
        answers: list[Answer] = []
        self._sockets.open()
        worker = threading.Thread(target=lambda: answers.append(ask()), name="request", daemon=True)
        self._worker = worker
        worker.start()
        worker.join(max(0.0, until - time.monotonic()))
        late = worker.is_alive()
        self._sockets.close()
        worker.join(_GRACE_SECONDS)
        if late or not answers:
            return Answer(status=None, detail=f"no whole answer within {self._seconds:g} s")
        return answers[0]

    # --- in the request's own thread -----------------------------------------------------------

    def _put(self, host: str, packed: bytes) -> Answer:
        try:
            response = self._service().report(host, packed)
            with contextlib.closing(response):
                return _answer(response)
        except Exception as error:  # the libraries below raise what they like
            return Answer(status=None, detail=_reason(error))
        finally:
            # Reports are minutes apart: no connection is kept.
            self._http.close()

    def _step(self, ask: Callable[[], object]) -> Answer:
        try:
            ask()
            return Answer(status=None)
        except Exception as error:  # as above
            return Answer(status=None, detail=_reason(error))
        finally:
            self._http.close()

    def _service(self) -> DiskAuditProxy:
        """``conn.disk_audit`` at the address that the catalog names now.

        A connection keeps the first address that it found, so it is made anew when the catalog
        (which comes with each token) names another. A token whose catalog lacks the service is
        forgotten.
        """
        endpoint = self._override
        if not endpoint:
            try:
                endpoint = self._session.get_endpoint(skip_discovery=True, **self._where)
            except keystoneauth1.exceptions.CatalogException:
                endpoint = None
            except keystoneauth1.exceptions.ClientException as error:
                raise _NoService(f"Keystone: {_reason(error)}") from error
        if not endpoint:
            self._session.invalidate()
            raise _NoService(_not_in_catalog(self._where))
        if self._proxy is None or endpoint != self._endpoint:
            options = {**self._options, f"{sdk.ATTRIBUTE}_endpoint_override": endpoint}
            connection = openstack.connection.Connection(session=self._session, **options)
            sdk.register(connection)
            self._proxy, self._endpoint = sdk.of(connection), endpoint
        return self._proxy


class _NoService(Exception):
    """There is no way to the service; the message is one line."""


def check(conf: cfg.ConfigOpts) -> Iterator[tuple[str, str | None]]:
    """The way to the service, step by step: (what, why it failed or None)."""
    yield from Transport(conf).check(conf.host or socket.gethostname())


# --- an answer -------------------------------------------------------------------------------


class _Error(msgspec.Struct):
    code: str | None = None
    title: str | None = None
    detail: str | None = None


class _Body(msgspec.Struct):
    """Both kinds of answers: ``current`` of a success, ``errors`` as the API guidelines say."""

    current: str | None = None
    errors: tuple[_Error, ...] = ()


def _answer(response: requests.Response) -> Answer:
    data = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
    try:
        if len(data) > MAX_ANSWER_BYTES:
            raise msgspec.DecodeError("too long")
        body = msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        body = _Body()  # something between us and the service has answered
    error = body.errors[0] if body.errors else _Error()
    detail = error.detail or error.title or response.reason or ""
    if response.is_redirect:
        detail = f"a redirect to {response.headers['Location']}, which is not followed"
    return Answer(
        status=response.status_code,
        current=body.current,
        code=error.code,
        detail=_line(detail) or None,
        retry_after_seconds=_retry_after(response.headers),
    )


def _retry_after(headers: Any) -> float | None:
    """Seconds to wait; a date counts from the date that the answer itself carries."""
    wanted = headers.get("Retry-After", "").strip()
    if wanted.isascii() and wanted.isdigit():
        return float(wanted[:9])
    then = _date(wanted)
    if then is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.datetime.now(datetime.UTC)
    return max(0.0, (then - now).total_seconds())


def _date(text: str) -> datetime.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def _reason(error: Exception) -> str:
    """An error of the libraries in one line: what was wanted, and what came of it at the bottom.

    Between the two each layer repeats itself.
    """
    text = str(error) or repr(error)
    wanted = _CONNECTING.match(text)
    below = error.__cause__ or error.__context__
    bottom = None
    while below is not None:
        if isinstance(below, OSError | http.client.HTTPException) and not _is_a_layer(below):
            bottom = below
        below = below.__cause__ or below.__context__
    return _line(text if wanted is None or bottom is None else f"{wanted[0]}: {bottom}")


def _is_a_layer(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("keystoneauth1", "requests", "urllib3")


def _line(text: str) -> str:
    """One line of bounded length, for the log."""
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_DETAIL])
    return " ".join(text.split())[:_MAX_DETAIL]


def _not_in_catalog(where: dict[str, Any]) -> str:
    wanted = "service {service_type}".format(**where)
    if where["service_name"]:
        wanted += " named {service_name}".format(**where)
    wanted += ", interface " + " or ".join(where["interface"] or ["public"])
    if where["region_name"]:
        wanted += ", region {region_name}".format(**where)
    return f"no endpoint in Keystone's catalog: {wanted} (or set endpoint_override)"


# --- sockets that can be cut off, answers that end ----------------------------------------------


class _Sockets:
    """The sockets of one request, so that another thread can end it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._open = False
        self._held: list[socket.socket] = []

    def open(self) -> None:
        with self._mutex:
            self._open = True

    def add(self, new: socket.socket) -> None:
        """Hold a duplicate: TLS takes the socket itself over, and its number may be reused.

        :raises OSError: when the request is over.
        """
        with self._mutex:
            if not self._open:
                new.close()
                raise OSError(errno.ECANCELED, "the request is over")
            self._held.append(new.dup())

    def close(self) -> None:
        with self._mutex:
            self._open = False
            for one in self._held:
                with contextlib.suppress(OSError):  # the other side was first
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._held.clear()


class _Adapter(keystoneauth1.session.TCPKeepAliveAdapter):
    """Connections of which ``sockets`` knows; answers that were not asked for as a stream end."""

    def __init__(self, sockets: _Sockets, *, insecure: bool, **tls: Any) -> None:
        class Plain(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> socket.socket:
                made = super()._new_conn()
                sockets.add(made)
                return made

        class Tls(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                made = super()._new_conn()
                sockets.add(made)
                return made

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        self._pools = {"http": PlainPool, "https": TlsPool}
        self._insecure = insecure
        super().__init__(**tls)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools
        context = self.poolmanager.connection_pool_kw.get("ssl_context")
        if context is not None and self._insecure:
            # keystoneauth makes it for tls_ciphers, and urllib3 trips over it without this.
            context.check_hostname = False

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        response = super().send(request, True, timeout, verify, cert, proxies)
        if not stream:
            _read_bounded(response)
        return response


def _read_bounded(response: requests.Response) -> None:
    """All of the body, as ``requests`` itself keeps what it has read."""
    data = bytearray()
    for chunk in response.iter_content(2**16):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            response.close()
            raise requests.exceptions.ContentDecodingError(
                f"an answer of more than {MAX_ANSWER_BYTES} bytes"
            )
    response._content = bytes(data)


def _http_session(group: Any, sockets: _Sockets) -> requests.Session:
    """As keystoneauth makes it for itself, but with our connections."""
    tls = {name: group[name] for name in disk_audit.TLS if group[name] is not None}
    session = requests.Session()
    adapter = _Adapter(sockets, insecure=group.insecure, **tls)
    for scheme in list(session.adapters):
        session.mount(scheme, adapter)
    return session
