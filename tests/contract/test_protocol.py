# SPDX-License-Identifier: Apache-2.0
"""The protocol between agent and service, as a service has to keep it: ``doc/source/protocol.rst``.

Written against :class:`tests.contract.services.Service`, so that every service runs the same
tests.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import gzip
import json
import pathlib
import threading
from collections.abc import Iterator

import pytest

from nova_diskaudit import protocol
from tests.contract import reports
from tests.contract.services import SERVICES, Reply, Service

HOST = "compute-1"
MOST = protocol.MAX_REPORT_BYTES


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Service]:
    with SERVICES[request.param](tmp_path) as running:
        yield running


def took(reply: Reply, id: str) -> bool:
    return (reply.status, reply.body) == (200, {"current": id})


def broke(reply: Reply, current: str | None) -> bool:
    return (
        reply.status == 409
        and reply.code == "report-chain"
        and "current" in reply.body
        and reply.body["current"] == current
    )


def begun(service: Service, marks: int | dict[int, str] = 3) -> protocol.State:
    """The first state, taken."""
    state = reports.state(marks)
    assert took(service.send(reports.full(state)), state.id)
    return state


def names(state: protocol.State) -> dict[str, str]:
    return {one.uuid: one.domain for one in state.instances}


def stands(service: Service, state: protocol.State) -> bool:
    return service.report_id(state.host) == state.id and (
        service.instances(state.host) == names(state)
    )


# --- the chain --------------------------------------------------------------------------------


def test_the_first_report_of_a_host(service: Service) -> None:
    assert service.report_id(HOST) is None
    assert stands(service, begun(service))


def test_a_host_without_instances(service: Service) -> None:
    assert stands(service, begun(service, 0))


def test_hosts_do_not_mix(service: Service) -> None:
    begun(service)
    other = reports.state({7: "x"}, host="compute-2")
    assert took(service.send(reports.full(other, agent=reports.OTHER_AGENT)), other.id)
    assert stands(service, other)
    assert reports.uuid_of(7) not in service.instances(HOST)


def test_a_full_report_replaces_everything(service: Service) -> None:
    base = begun(service)
    state = reports.state({2: "new", 9: ""})
    assert took(service.send(reports.full(state, replaces=base.id)), state.id)
    assert stands(service, state)


def test_a_difference_is_applied(service: Service) -> None:
    base = begun(service, {0: "", 1: "", 2: "", 3: ""})
    state = reports.state({0: "", 1: "changed", 3: "", 4: "new"})
    sent = reports.delta(base, state)
    assert {one.uuid for one in sent.instances} == {reports.uuid_of(1), reports.uuid_of(4)}
    assert sent.gone == (reports.uuid_of(2),)
    assert took(service.send(sent), state.id)
    assert stands(service, state)


def test_a_difference_without_any(service: Service) -> None:
    base = begun(service)
    later = base.as_of + datetime.timedelta(minutes=5)
    state = reports.state(3, as_of=later)
    sent = reports.delta(base, state)
    assert sent.instances == ()
    assert took(service.send(sent), state.id)
    assert stands(service, state) and service.as_of(HOST) == later


def test_gone_may_name_what_nobody_knows(service: Service) -> None:
    base = begun(service)
    document = reports.document(reports.delta(base, state := reports.state(3)))
    document["gone"] = [reports.uuid_of(99)]
    assert took(service.put(HOST, json.dumps(document).encode()), state.id)
    assert stands(service, state)


def test_a_long_chain(service: Service) -> None:
    base = begun(service)
    for number in range(20):
        state = reports.state({number % 5: str(number), 5: ""})
        assert took(service.send(reports.delta(base, state)), state.id)
        assert stands(service, state)
        base = state


def test_a_replay_is_a_success_and_changes_nothing(service: Service) -> None:
    first = begun(service)
    second = reports.state(2)
    sent = reports.delta(first, second)
    for _ in range(3):
        assert took(service.send(sent), second.id)
        assert stands(service, second)
    # Whatever it carries: the id says that it is here already.
    for again in (reports.full(second), reports.full(second, replaces=reports.new_id())):
        assert took(service.send(again), second.id)


def test_a_late_duplicate_is_no_replay(service: Service) -> None:
    first = begun(service)
    second, third = reports.state(2), reports.state(1)
    late = [reports.full(first), reports.delta(first, second)]
    service.send(late[1])
    service.send(reports.delta(second, third))
    for report in late:
        assert broke(service.send(report), third.id)
        assert stands(service, third)


@pytest.mark.parametrize("kind", ["full", "delta"])
def test_what_replaces_something_else(service: Service, kind: str) -> None:
    base = begun(service)
    stranger, state = reports.state(3), reports.state(2)
    if kind == "full":
        sent = [reports.full(state, replaces) for replaces in (stranger.id, None)]
    else:
        sent = [reports.delta(stranger, state)]
    for report in sent:
        assert broke(service.send(report), base.id)
        assert stands(service, base)


@pytest.mark.parametrize("kind", ["full", "delta"])
def test_what_replaces_something_of_a_host_that_is_not_known(service: Service, kind: str) -> None:
    stranger, state = reports.state(3), reports.state(2)
    report = reports.full(state, stranger.id) if kind == "full" else reports.delta(stranger, state)
    assert broke(service.send(report), None)
    assert service.report_id(HOST) is None


def test_a_broken_chain_is_mended_by_what_it_names(service: Service) -> None:
    base = begun(service)
    state = reports.state(2)
    reply = service.send(reports.delta(reports.state(3), state))
    assert broke(reply, base.id)
    assert took(service.send(reports.full(state, reply.body["current"])), state.id)
    following = reports.state(4)
    assert took(service.send(reports.delta(state, following)), following.id)


def test_a_full_state_can_be_demanded(service: Service) -> None:
    base = begun(service)
    service.demand(HOST)
    demanded = service.report_id(HOST)
    assert demanded not in (None, base.id)
    state = reports.state(2)
    assert broke(service.send(reports.delta(base, state)), demanded)
    assert broke(service.send(reports.full(base)), demanded)
    assert took(service.send(reports.full(state, demanded)), state.id)
    assert stands(service, state)


# --- two agents -------------------------------------------------------------------------------


def held(service: Service, reply: Reply) -> bool:
    wait = int(reply.headers.get("retry-after", "-1"))
    return (
        reply.status == 409
        and reply.code == "host-held"
        and 0 < wait <= service.takeover_after_seconds + 1
    )


def other(state: protocol.State, replaces: str | None) -> protocol.Report:
    return reports.full(state, replaces, reports.OTHER_AGENT)


def test_another_agent_has_to_wait(service: Service) -> None:
    base = begun(service)
    state = reports.state(1)
    # The chain is not even looked at.
    for replaces in (base.id, None, reports.new_id()):
        assert held(service, service.send(other(state, replaces)))
        assert stands(service, base)


def test_another_agent_takes_over_after_a_silence(service: Service) -> None:
    base = begun(service)
    state = reports.state(1)
    service.let_pass(service.takeover_after_seconds / 2)
    reply = service.send(other(state, base.id))
    assert held(service, reply)
    assert int(reply.headers["retry-after"]) <= service.takeover_after_seconds / 2 + 1
    service.let_pass(service.takeover_after_seconds / 2)
    assert broke(service.send(other(state, None)), base.id)
    assert took(service.send(other(state, base.id)), state.id)
    assert stands(service, state)
    # Now it is the first one that has to wait.
    assert held(service, service.send(reports.full(reports.state(2), state.id)))


def test_every_report_holds_the_host_for_longer(service: Service) -> None:
    base = begun(service)
    service.let_pass(service.takeover_after_seconds - 10)
    state = reports.state(2)
    assert took(service.send(reports.delta(base, state)), state.id)
    service.let_pass(service.takeover_after_seconds - 10)
    assert held(service, service.send(other(reports.state(1), state.id)))


def test_a_replay_comes_before_everything(service: Service) -> None:
    base = begun(service)
    assert took(service.send(other(base, None)), base.id)
    assert held(service, service.send(other(reports.state(1), base.id)))


# --- at the same time -------------------------------------------------------------------------


def at_once(service: Service, sent: list[protocol.Report]) -> list[Reply]:
    """All of them begin together."""
    barrier = threading.Barrier(len(sent))

    def send(report: protocol.Report) -> Reply:
        barrier.wait()
        return service.send(report)

    with concurrent.futures.ThreadPoolExecutor(len(sent)) as pool:
        return list(pool.map(send, sent))


@pytest.mark.parametrize("first", [True, False], ids=["of a new host", "of a known host"])
def test_of_several_at_once_one_is_taken(service: Service, first: bool) -> None:
    for _ in range(5):
        replaces = None if first else (service.report_id(HOST) or begun(service).id)
        if first:
            states = [reports.state({number: ""}, host=reports.new_id()) for number in range(8)]
            host = states[0].host
            states = [reports.state({n: ""}, host=host) for n in range(8)]
        else:
            states = [reports.state({number: ""}) for number in range(8)]
        replies = at_once(service, [reports.full(state, replaces) for state in states])
        winners = [
            state for state, reply in zip(states, replies, strict=True) if reply.status == 200
        ]
        assert len(winners) == 1 and stands(service, winners[0])
        for state, reply in zip(states, replies, strict=True):
            if state is winners[0]:
                assert took(reply, state.id)
            else:
                assert broke(reply, winners[0].id)


def test_the_same_one_at_once_is_a_success_for_all(service: Service) -> None:
    base = begun(service)
    state = reports.state(2)
    for reply in at_once(service, [reports.delta(base, state)] * 8):
        assert took(reply, state.id)
    assert stands(service, state)


def test_nobody_sees_half_a_report(service: Service) -> None:
    states = [reports.state(dict.fromkeys(range(40), mark)) for mark in "ab"]
    base = begun(service, dict.fromkeys(range(40), "a"))
    whole = [names(state) for state in states]
    ending = threading.Event()
    seen: list[dict[str, str]] = []

    def look() -> None:
        while not ending.is_set():
            seen.append(service.instances(HOST))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(1, 15):
            mark = "ab"[number % 2]
            state = reports.state(dict.fromkeys(range(40), mark))
            report = reports.delta(base, state) if number % 3 else reports.full(state, base.id)
            assert took(service.send(report), state.id)
            base = state
    finally:
        ending.set()
        reader.join()
    assert seen and all(one in whole for one in seen)


# --- what a report looks like ----------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_packed_or_not(service: Service, packed: bool) -> None:
    state = reports.state(50)
    body = protocol.encode(reports.full(state))
    encoding = "gzip" if packed else None
    reply = service.put(HOST, gzip.compress(body) if packed else body, Content_Encoding=encoding)
    assert took(reply, state.id) and stands(service, state)


def test_the_type_may_name_its_characters(service: Service) -> None:
    state = reports.state()
    body = protocol.encode(reports.full(state))
    assert took(service.put(HOST, body, Content_Type="application/json; charset=UTF-8"), state.id)


@pytest.mark.parametrize("host", ["compute-1.example.org", "nœud 1", "a+b", "100%", "~x_y.z-"])
def test_names_of_hosts(service: Service, host: str) -> None:
    state = reports.state(host=host)
    assert took(service.send(reports.full(state)), state.id)
    assert stands(service, state)


def test_fields_of_a_newer_schema_are_ignored(service: Service) -> None:
    state = reports.state()
    document = reports.document(reports.full(state)) | {"schema": "1.9", "new": {"a": [1, None]}}
    document["instances"][0]["new"] = "x"
    assert took(service.put(HOST, json.dumps(document, indent=1).encode()), state.id)
    assert stands(service, state)


def test_a_time_that_has_not_come_is_not_kept(service: Service) -> None:
    now = datetime.datetime.now(datetime.UTC)
    soon = reports.state(as_of=now + datetime.timedelta(seconds=30))
    assert took(service.send(reports.full(soon)), soon.id)
    assert service.as_of(HOST) == soon.as_of
    far = reports.state(as_of=now + datetime.timedelta(days=365))
    assert took(service.send(reports.delta(soon, far)), far.id)
    assert service.as_of(HOST) < now + datetime.timedelta(hours=1)
    # It is no order: the next one is taken although it looks older.
    back = reports.state(as_of=now)
    assert took(service.send(reports.delta(far, back)), back.id)
    assert service.as_of(HOST) == now


# --- what is refused -------------------------------------------------------------------------


def refused(reply: Reply, status: int) -> bool:
    """In the form of the API guidelines, and in words."""
    (error,) = reply.body["errors"]
    return (
        reply.status == error["status"] == status
        and bool(error["code"])
        and bool(error["title"])
        and 0 < len(error["detail"]) < 500
        and reply.headers["content-type"].partition(";")[0] == "application/json"
    )


def test_what_is_no_report_is_refused_and_changes_nothing(service: Service) -> None:
    base = begun(service)
    bodies = reports.bad_bodies(reports.full(reports.state(2), base.id))
    assert sorted(bodies) == reports.BAD
    wrong = []
    for name, body in bodies.items():
        for encoding in (None, "gzip"):
            packed = gzip.compress(body, 1) if encoding else body
            reply = service.put(HOST, packed, Content_Encoding=encoding)
            if not refused(reply, 400):
                wrong.append((name, encoding, reply.status))
    assert not wrong
    assert stands(service, base)
    state = reports.state(1)
    assert took(service.send(reports.delta(base, state)), state.id)


def test_the_host_of_the_body_is_that_of_the_url(service: Service) -> None:
    body = protocol.encode(reports.full(reports.state()))
    assert refused(service.put("compute-2", body), 400)
    assert service.report_id("compute-2") is service.report_id(HOST) is None


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_type_is_refused(service: Service, kind: str | None) -> None:
    body = protocol.encode(reports.full(reports.state()))
    assert refused(service.put(HOST, body, Content_Type=kind), 415)
    assert service.report_id(HOST) is None


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_another_encoding_is_refused(service: Service, encoding: str) -> None:
    body = protocol.encode(reports.full(reports.state()))
    assert refused(service.put(HOST, body, Content_Encoding=encoding), 415)
    assert service.report_id(HOST) is None


@pytest.mark.parametrize("body", [b"", b"{}", gzip.compress(b"{}")[:-4]])
def test_gzip_that_is_none_is_refused(service: Service, body: bytes) -> None:
    assert refused(service.put(HOST, body, Content_Encoding="gzip"), 400)


# --- sizes -----------------------------------------------------------------------------------


def padded(state: protocol.State, size: int) -> bytes:
    """A good report of exactly so many bytes."""
    body = protocol.encode(reports.full(state))
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("packed", [False, True])
def test_the_largest_report(service: Service, packed: bool) -> None:
    state = reports.state(100)
    body = padded(state, MOST)
    encoding = "gzip" if packed else None
    reply = service.put(HOST, gzip.compress(body, 1) if packed else body, Content_Encoding=encoding)
    assert took(reply, state.id) and stands(service, state)


@pytest.mark.parametrize("packed", [False, True])
def test_one_byte_more(service: Service, packed: bool) -> None:
    body = padded(reports.state(), MOST + 1)
    encoding = "gzip" if packed else None
    reply = service.put(HOST, gzip.compress(body, 1) if packed else body, Content_Encoding=encoding)
    assert refused(reply, 413)
    assert service.report_id(HOST) is None


@pytest.mark.parametrize("megabytes", [100, 1024])
def test_a_bomb(service: Service, megabytes: int) -> None:
    block = gzip.compress(b" " * (64 * 2**20), 9)
    # Members may follow each other: the bomb is whole, and small.
    bomb = block * (megabytes // 64 + 1)
    assert len(bomb) < MOST
    assert service.put(HOST, bomb, Content_Encoding="gzip").status in (400, 413)
    one = gzip.compress(b" " * (megabytes * 2**20), 1)
    assert refused(service.put(HOST, one, Content_Encoding="gzip"), 413)
    assert service.report_id(HOST) is None


def test_a_hundred_megabytes_are_refused_before_they_are_sent(service: Service) -> None:
    with service.connect() as connection:
        connection.putrequest("PUT", service.path(HOST))
        for name, value in service.headers(HOST).items():
            connection.putheader(name, value)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(100 * 10**6))
        connection.endheaders()
        connection.send(b" " * 100_000)
        assert refused(service.read(connection), 413)
    assert stands(service, begun(service))


def test_a_body_of_unknown_length_has_bounds_as_well(service: Service) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 2**20

    try:
        status = service.put(HOST, endless(), Transfer_Encoding="chunked").status
    except ConnectionError:
        status = 413  # it did not even listen to the end
    assert status in (400, 411, 413)
    assert stands(service, begun(service))


def test_a_body_that_ends_too_early_is_none(service: Service) -> None:
    state = reports.state()
    body = protocol.encode(reports.full(state))
    with service.connect() as connection:
        connection.putrequest("PUT", service.path(HOST))
        for name, value in service.headers(HOST).items():
            connection.putheader(name, value)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body) + 10))
        connection.endheaders()
        connection.send(body)
    assert service.report_id(HOST) is None
    assert took(service.send(reports.full(state)), state.id)
