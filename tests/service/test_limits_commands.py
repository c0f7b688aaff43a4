# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-manage limits`` against a real Keystone: what it does, and all that it says when
an operator errs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from nova_diskaudit.cmd import manage
from nova_diskaudit.limits import GUEST_USED, HOST_ALLOCATED, NOVA_DISK
from tests.service.limits import Limits, credentials
from tests.services.cloud import Cloud, Person
from tests.services.keystone import Keystone

#: exit status, what is printed, what is said
Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture(scope="module")
def other_cloud() -> Iterator[Cloud]:
    """Of a Keystone whose limits are these tests' alone."""
    with Keystone() as server:
        cloud = Cloud(server)
        cloud.endpoint("identity", server.url, "public", "internal")
        yield cloud


@pytest.fixture
def limits(other_cloud: Cloud) -> Iterator[Limits]:
    found = Limits(other_cloud)
    yield found
    found.clear()


@pytest.fixture(scope="module")
def admin(other_cloud: Cloud) -> Person:
    return other_cloud.user("operator", other_cloud.project("service"), "admin")


@pytest.fixture
def run(admin: Person, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with a configuration, whose ``[nova]`` is the administrator's by default."""

    def running(*words: str, nova: str | None = None) -> Said:
        file = tmp_path / "nova-diskaudit-api.conf"
        file.write_text(
            f"[database]\nconnection = sqlite:///{tmp_path}/x.sqlite\n"
            f"[nova]\ntimeout = 5\n{credentials(admin) if nova is None else nova}"
        )
        status = manage.main(["--config-file", str(file), "limits", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return running


def refused(said: Said, *words: str) -> None:
    """It is one line, without a trace of how it came about; libraries may log beside it."""
    status, out, lines = said
    *logged, line = lines.splitlines()
    assert (status, out) == (2, ""), said
    assert line.startswith("nova-diskaudit-manage: ")
    assert all(word in line for word in words), line
    assert all(" WARNING " in one for one in logged), lines


def test_registering(limits: Limits, run: Run) -> None:
    refused(run("register"), "openstack service create --name nova-diskaudit disk-audit")
    status, out, _ = run("register", "--create-service")
    assert status == 0
    made, host, guest = out.splitlines()
    assert made.startswith("service ") and made.endswith(" of the type disk-audit: made")
    assert (host, guest) == (
        f"{HOST_ALLOCATED}: unlimited (registered)",
        f"{GUEST_USED}: unlimited (registered)",
    )
    before = limits.registered()
    again = f"{HOST_ALLOCATED}: unlimited (unchanged)\n{GUEST_USED}: unlimited (unchanged)\n"
    assert run("register", "--create-service") == (0, again, "")
    assert limits.registered() == before


def test_registering_with_numbers(limits: Limits, run: Run) -> None:
    limits.service("disk-audit")
    words = ("register", "--host-allocated-gib", "100", "--guest-used-gib", "0")
    for outcome in ("registered", "unchanged"):
        said = f"{HOST_ALLOCATED}: 100 GiB ({outcome})\n{GUEST_USED}: 0 GiB ({outcome})\n"
        assert run(*words) == (0, said, "")
    said = f"{HOST_ALLOCATED}: unlimited (changed)\n{GUEST_USED}: 0 GiB (unchanged)\n"
    assert run("register", "--host-allocated-gib", "-1") == (0, said, "")
    assert limits.registered()[HOST_ALLOCATED]["default_limit"] == -1
    assert "nothing is refused" in limits.registered()[HOST_ALLOCATED]["description"]


def test_registering_in_a_region(limits: Limits, run: Run) -> None:
    limits.service("disk-audit")
    refused(run("register", "--region", "Nowhere"), "400", "region_id")
    limits.region("West")
    assert run("register", "--region", "West")[0] == 0
    assert limits.registered()[HOST_ALLOCATED]["region_id"] == "West"
    _, out, _ = run("register", "--host-allocated-gib", "7")
    assert f"{HOST_ALLOCATED}: 7 GiB (changed)\n" in out, "there is no other one"
    assert limits.registered()[HOST_ALLOCATED]["region_id"] == "West"


def test_a_default_that_projects_override(limits: Limits, run: Run) -> None:
    ours = limits.service("disk-audit")
    run("register")
    override = limits.set(ours, HOST_ALLOCATED, 5, project_id=limits.cloud.project())
    refused(run("register", "--host-allocated-gib", "9"), "403", "limits associated with it")
    limits.unset(override)
    assert run("register", "--host-allocated-gib", "9")[0] == 0


def test_two_services_of_our_type(limits: Limits, run: Run) -> None:
    ids = [limits.service("disk-audit") for _ in range(2)]
    status, _, line = run("register")
    assert status == 2 and line.count("\n") == 1 and all(id in line for id in ids)


def test_what_is_shown(limits: Limits, run: Run) -> None:
    red = limits.cloud.project("red")
    missing = "".join(f"{name}: not registered\n" for name in (HOST_ALLOCATED, GUEST_USED))
    nova_missing = f"{NOVA_DISK}: not registered\n"
    assert run("show") == (1, f"enforcement model: flat\n{missing}{nova_missing}", "")
    run("register", "--create-service", "--host-allocated-gib", "100")
    nova = limits.service("compute")
    limits.register(nova, NOVA_DISK, 500)
    limits.set(nova, NOVA_DISK, 50, project_id=red)
    assert run("show") == (
        0,
        "enforcement model: flat\n"
        f"{HOST_ALLOCATED}: 100 GiB, other limits for 0 projects and 0 domains\n"
        f"{GUEST_USED}: unlimited, other limits for 0 projects and 0 domains\n"
        f"{NOVA_DISK}: 500 GiB, other limits for 1 projects and 0 domains\n",
        "",
    )
    assert run("show", red)[1].splitlines()[1:] == [
        f"{HOST_ALLOCATED}: 100 GiB",
        f"{GUEST_USED}: unlimited",
        f"{NOVA_DISK}: 50 GiB",
    ]


def test_without_rights(limits: Limits, run: Run) -> None:
    limits.service("disk-audit")
    eve = limits.cloud.user("eve", limits.cloud.project(), "reader")
    refused(run("register", nova=credentials(eve)), "403", "not authorized")
    refused(run("show", nova=credentials(eve)), "needs the role admin")
    system = limits.cloud.user("reader", None, "reader")
    nova = credentials(system, system_scope="all")
    refused(run("register", nova=nova), "403", "identity:create_registered_limits")
    assert run("show", nova=nova)[0] == 1, "it may look"


def test_with_credentials_that_are_wrong(limits: Limits, run: Run, admin: Person) -> None:
    wrong = credentials(admin).replace(admin.password, "guess")
    refused(run("register", nova=wrong), "401")
    refused(run("show", nova=""), "[nova] auth_type is not set")
    refused(run("show", nova="auth_type = nonsense\n"), "[nova]", "nonsense")
    away = credentials(admin).replace(limits.cloud.url, "http://127.0.0.1:1/v3")
    refused(run("register", nova=away), "127.0.0.1:1")


def test_with_credentials_of_the_environment(
    limits: Limits, run: Run, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits.service("disk-audit")
    eve = credentials(limits.cloud.user("eve", limits.cloud.project(), "reader"))
    refused(run("register", "--os-cloud", "nowhere", nova=eve), "cloud nowhere")
    for name, value in {
        "OS_AUTH_URL": limits.cloud.url,
        "OS_USER_ID": admin.id,
        "OS_PASSWORD": admin.password,
        "OS_PROJECT_ID": str(admin.project),
    }.items():
        monkeypatch.setenv(name, value)
    assert run("register", "--os-cloud", "envvars", nova=eve)[0] == 0
    monkeypatch.setenv("OS_PASSWORD", "guess")
    refused(run("register", "--os-cloud", "envvars", nova=eve), "401")


@pytest.mark.parametrize("number", ["-2", "x", "1.5", "2147483648"])
def test_a_number_that_is_none(number: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        run("register", "--host-allocated-gib", number)
    assert leaving.value.code == 2
    assert "number of GiB" in capsys.readouterr().err
