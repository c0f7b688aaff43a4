# SPDX-License-Identifier: Apache-2.0
"""``/v1/hosts/{host}/report``: the one call of an agent."""

from __future__ import annotations

from typing import Any

from nova_diskaudit import protocol
from nova_diskaudit.api import errors, request_body
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas.report import Accepted
from nova_diskaudit.store import enrollment, transaction
from nova_diskaudit.store import report as store


def put(call: Call) -> Answer:
    """Take a report: who may, what it is, whether it is the next one."""
    host, service = call.path["host"], call.service
    # keystonemiddleware lifts the access rules of a token that comes with a service token, and
    # Nova's lies on every compute node.
    if call.request.get_header("X-Service-Token") is not None:
        raise errors.forbidden("a report takes no service token", "service-token-refused")
    enroll = _credential(call, host) if service.enrollment else None
    data = request_body.read(call.request, protocol.MAX_REPORT_BYTES)
    try:
        report = protocol.decode_report(data, path_host=host)
        judged = store.put(
            service.engine,
            report,
            now=service.now(),
            takeover_after_seconds=service.takeover_after_seconds,
            enroll=enroll,
        )
    except protocol.ReportInvalid as error:
        raise errors.bad_request(str(error), "report-invalid") from None
    except enrollment.Enrolled:
        raise _not_enrolled() from None
    if isinstance(judged, protocol.Held):
        raise errors.ApiError(
            409,
            "host-held",
            "Another agent reports for this host",
            headers={"Retry-After": str(judged.retry_after_seconds)},
        )
    if isinstance(judged, protocol.ChainBroken):
        raise errors.ApiError(
            409,
            "report-chain",
            "The report replaces another one than the current",
            current=judged.current,
        )
    return Answer(Accepted(current=report.id))


def _credential(call: Call, host: str) -> str | None:
    """Look whether the token's credential speaks for the host; its id, if it is to be enrolled."""
    token: dict[str, Any] = call.request.env.get("keystone.token_info", {}).get("token", {})
    credential_id = token.get("application_credential", {}).get("id")
    if not credential_id:
        raise errors.forbidden(
            "a report needs the token of an application credential",
            "application-credential-required",
        )
    with transaction.read(call.service.engine) as connection:
        enrolled = enrollment.host_of(connection, credential_id)
        if enrolled == host:
            return None
        if (
            enrolled is None
            and call.service.first_report_enrolls
            and not enrollment.is_claimed(connection, host)
        ):
            return str(credential_id)
    raise _not_enrolled()


def _not_enrolled() -> errors.ApiError:
    return errors.forbidden(
        "this application credential is not enrolled for this host", "not-enrolled"
    )
