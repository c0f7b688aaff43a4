# SPDX-License-Identifier: Apache-2.0
"""What operators and tenants find on the page: the API's own numbers, and nothing made up."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from playwright import sync_api

from tests.service.page import house as houses
from tests.service.page import scenery
from tests.service.page.conftest import Invite
from tests.service.page.house import House
from tests.service.page.visitor import Visitor

GIB = scenery.GIB


def ask(house: House, path: str, token: str = houses.OPERATOR) -> Any:
    request = urllib.request.Request(f"{house.url}/v1/{path}", headers={"X-Auth-Token": token})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def story(visitor: Visitor, name: str) -> None:
    visitor.go(f"#/instances/{scenery.uuid(name)}", name)


def card(target: str) -> str:
    return f".card.disk:has(h2 bdi:text-is('{target}'))"


# --- hosts ------------------------------------------------------------------------------------


def test_hosts_with_their_age_their_storage_and_what_was_found(operator: Visitor) -> None:
    rows = {row["Host"]: row for row in operator.rows()}
    assert list(rows) == [f"compute-{number}.example.org" for number in (1, 2, 3, 4)]
    assert rows["compute-1.example.org"] == {
        "Host": "compute-1.example.org",
        "Reported": "2 min ago",
        "Instances": "3",
        "Promised": "340 GiB",
        "Held": "287 GiB",
        "Storage in use": "1.23 TiB free of 1.76 TiB",
        "Findings": "none",
    }
    assert rows["compute-2.example.org"]["Storage in use"].endswith("3 % free")
    assert rows["compute-3.example.org"]["Findings"] == "1 error"
    assert (
        "/mnt/filer unknown storage-unresponsive" in rows["compute-3.example.org"]["Storage in use"]
    )
    assert rows["compute-4.example.org"]["Reported"] == "3 hours ago stale"
    assert "4 hosts, 1 of them silent for more than an hour: 12 instances" in operator.text()


def test_one_host(operator: Visitor) -> None:
    operator.page.get_by_role("link", name="compute-2.example.org").click()
    operator.see("compute-2.example.org")
    assert operator.page.url.endswith("#/hosts/compute-2.example.org")
    in_use = operator.bar("In use")
    assert in_use["text"] == "1.70 TiB of 1.76 TiB 61.0 GiB free 3 % free"
    assert in_use["solid"] == [pytest.approx(0), pytest.approx(1739 / 1800, abs=0.01)]
    assert operator.bar("Promised")["text"] == "3.03 TiB 1.72 times the filesystem"
    assert operator.bar("Promised")["solid"] == [0, pytest.approx(3100 / 1800, abs=0.01)]
    operator.page.get_by_text("2 files and directories of no known domain: 22.5 GiB").click()
    assert "disk.bak unknown" in operator.text()
    assert [row["Instance"] for row in operator.rows()] == ["web-2", "mail shutoff", "training"]


def test_a_storage_that_does_not_answer_has_no_bar(operator: Visitor) -> None:
    operator.go("#/hosts/compute-3.example.org", "compute-3.example.org")
    dead = ".card:has(h3 bdi:text-is('/mnt/filer'))"
    assert operator.bar("In use", within=dead)["text"] == "unknown storage-unresponsive"
    assert not operator.bar("In use", within=dead)["has_bar"]
    assert operator.bar("Image cache", within=dead)["text"] == "unknown"


# --- instances --------------------------------------------------------------------------------


def test_those_with_the_most_to_gain_come_first(operator: Visitor, house: House) -> None:
    operator.page.get_by_role("link", name="Instances", exact=True).click()
    operator.see("Instances")
    order = "sort=reclaimable_likely_bytes:desc&fields=uuid"
    told = [one["uuid"] for one in ask(house, f"instances?{order}")["instances"]]
    shown = operator.page.locator("tbody th a").evaluate_all("all => all.map(one => one.title)")
    assert shown == told
    rows = operator.rows()
    assert rows[0]["Instance"] == "database"
    assert rows[0]["Reclaimable"] == "about 141 GiB"
    silent = next(row for row in rows if row["Instance"] == "ci-runner-3")
    assert silent["Guest says"] == "unknown agent-disconnected"
    assert silent["Reclaimable"] == "0 B to 71.3 GiB"
    hung = next(row for row in rows if row["Instance"] == "scratch")
    assert (hung["Held"], hung["Reclaimable"]) == ("unknown", "unknown")
    stranger = rows[-1]
    assert stranger["Instance"].endswith("unverified")
    assert stranger["Project"] == "unknown"


def test_other_orders_and_those_that_nobody_confirms(operator: Visitor) -> None:
    operator.go("#/instances", "Instances")
    operator.page.get_by_role("navigation", name="Most first by").get_by_text("promised").click()
    sync_api.expect(operator.page.locator("tbody th").first).to_have_text("training")
    heading = operator.page.get_by_role("columnheader", name="Promised")
    sync_api.expect(heading).to_have_attribute("aria-sort", "descending")
    operator.page.get_by_role("navigation", name="Confirmed").get_by_text("unverified").click()
    sync_api.expect(operator.page.locator("tbody tr")).to_have_count(1)
    assert "sort=virtual_bytes" in operator.page.url
    operator.page.go_back()
    sync_api.expect(operator.page.locator("tbody tr")).to_have_count(11)


def test_an_instance_is_found_by_its_uuid(operator: Visitor) -> None:
    operator.go("#/instances", "Instances")
    box = operator.page.get_by_role("searchbox")
    box.fill("no uuid")
    box.press("Enter")
    assert "This is not a whole UUID." in operator.text()
    box.fill(f"  {scenery.uuid('mail').upper()} ")
    box.press("Enter")
    operator.see("mail")


# --- one instance -----------------------------------------------------------------------------


def test_bars_are_as_long_as_their_numbers(operator: Visitor, house: House) -> None:
    told = ask(house, f"instances/{scenery.uuid('database')}")
    story(operator, "database")
    for disk in told["disks"]:
        virtual, here = disk["virtual_bytes"], card(disk["target"])

        def near(count: int, virtual: int = virtual) -> Any:
            return pytest.approx(count / virtual, abs=0.006)  # some pixels

        for label, name in (
            ("Promised", "virtual_bytes"),
            ("Held", "host_allocated_bytes"),
            ("Guest says", "guest_used_bytes"),
        ):
            bar = operator.bar(label, within=here)
            assert bar["solid"] == [0, near(disk[name])]
            assert bar["hatched"] is None
        used, reclaimable = disk["used"], disk["reclaimable"]
        bar = operator.bar("Used", within=here)
        assert bar["solid"] == [0, near(used["low"])]
        assert bar["hatched"] == [near(used["low"]), near(used["high"])]
        assert bar["tick"] == near(used["bytes"])
        bar = operator.bar("Reclaimable", within=here)
        assert bar["solid"] is None and reclaimable["low"] == 0
        assert bar["hatched"] == [0, near(reclaimable["high"])]
        assert bar["tick"] == near(reclaimable["estimate"])
    vdb = card("vdb")
    assert operator.bar("Held", within=vdb)["said"] == "100 % of what is promised"
    assert operator.bar("Used", within=vdb)["text"] == "61.4 GiB between 61.4 GiB and 61.5 GiB"
    assert operator.bar("Reclaimable", within=vdb)["text"] == (
        "about 139 GiB at least 0 B, at most 142 GiB "
        "set discard=unmap for the disk, then run fstrim in the guest"
    )
    assert operator.bar("Shared images", within=card("vda"))["text"].endswith("charged to nobody")


def test_a_promise_of_the_verdict_is_solid(operator: Visitor, house: House) -> None:
    (vda, _) = ask(house, f"instances/{scenery.uuid('search')}")["disks"]
    assert vda["reclaimable"]["low"] > 0
    story(operator, "search")
    bar = operator.bar("Reclaimable", within=card("vda"))
    share = vda["reclaimable"]["low"] / vda["virtual_bytes"]
    assert bar["solid"] == [0, pytest.approx(share, abs=0.006)]
    assert "at least 14.1 GiB" in str(bar["text"])


@pytest.mark.parametrize(
    ("name", "target", "label", "words"),
    [
        ("scratch", "vda", "Held", "unknown storage-unresponsive"),
        ("scratch", "vda", "Reclaimable", "unknown storage-unresponsive"),
        ("scratch", "vda", "Guest says", "unknown guest-not-asked"),
        ("ci-runner-3", "vda", "Guest says", "unknown agent-disconnected"),
        ("mail", "vda", "Guest says", "unknown guest-not-running"),
        ("search", "vdb", "Held", "unknown host-allocation-unknown"),
        ("search", "vdb", "Guest says", "unknown no filesystem of the guest lies on it alone"),
        ("training", "vdb", "Guest says", "unknown filesystem-spans-disks"),
    ],
)
def test_unknown_is_said_with_its_reason_and_never_drawn(
    operator: Visitor, name: str, target: str, label: str, words: str
) -> None:
    story(operator, name)
    bar = operator.bar(label, within=card(target))
    assert (bar["text"], bar["has_bar"]) == (words, False)


def test_bounds_without_a_number_are_hatched_and_called_unknown(operator: Visitor) -> None:
    story(operator, "ci-runner-3")
    bar = operator.bar("Used", within=card("vda"))
    assert bar["text"] == "unknown agent-disconnected between 0 B and 80.0 GiB"
    assert (bar["solid"], bar["hatched"]) == (None, [0, 1])
    assert bar["said"] == "between 0 % and 100 % of what is promised"


def test_a_story_tells_filesystems_findings_and_other_places(operator: Visitor) -> None:
    story(operator, "training")
    text = operator.text()
    assert "/boot ext4 vda1" in text
    assert "Filesystems that belong to no single disk" in text
    assert "vdb, vdc: on several disks, or that cannot be ruled out" in text
    story(operator, "moved")
    assert "Also sighted elsewhere" in operator.text()
    assert operator.rows()[0]["Mounted at"] == "/"
    other = operator.page.get_by_role("table", name="Other sightings")
    assert "compute-4.example.org" in other.inner_text()
    story(operator, "database")
    text = operator.text()
    assert "What to do: Set discard='unmap'" in text
    assert "2 notes on its numbers: preallocated, triple-equal" in text
    operator.page.get_by_text("More about vda").click()
    assert "Highest offset written 38.6 GiB a hint, never usage" in operator.text()


def test_sizes_can_be_read_to_the_byte_without_a_mouse(operator: Visitor, house: House) -> None:
    told = ask(house, f"instances/{scenery.uuid('database')}")["disks"][0]
    story(operator, "database")
    toggle = operator.page.get_by_label("Exact bytes")
    toggle.focus()
    toggle.press("Space")
    assert f"{told['host_allocated_bytes']:,} bytes" in str(
        operator.bar("Held", within=card("vda"))["text"]
    )
    story(operator, "mail")  # it stays so
    assert f"{32 * GIB:,} bytes" in str(operator.bar("Promised", within=card("vda"))["text"])
    size = operator.page.locator(f"{card('vda')} data").first
    sync_api.expect(size).to_have_attribute("title", "32.0 GiB")
    toggle.press("Space")
    sync_api.expect(size).to_have_attribute("title", f"{32 * GIB:,} bytes")
    sync_api.expect(size).to_have_text("32.0 GiB")


# --- projects ---------------------------------------------------------------------------------


def test_projects_with_what_they_hold(operator: Visitor) -> None:
    operator.page.get_by_role("link", name="Projects").click()
    operator.see("Projects")
    rows = {row["Project"]: row for row in operator.rows()}
    assert set(rows) == {scenery.SHOP, scenery.LAB, scenery.SMALL}
    shop, lab = rows[scenery.SHOP], rows[scenery.LAB]
    assert (shop["Instances"], shop["Promised"]) == ("5", "420 GiB")
    assert shop["Reclaimable"] == "183 GiB or more"
    assert lab["Instances"] == "4 3 measured"
    assert lab["Held"] == "213 GiB without 1 disk"


def test_one_project_with_what_is_not_known_of_it(operator: Visitor) -> None:
    operator.go(f"#/projects/{scenery.LAB}", scenery.LAB)
    text = operator.text()
    assert "What is held is known of 3 of 4 instances, what the guests use of 1." in text
    assert "1 instance without what it holds: storage-unresponsive" in text
    assert "without 1 disk" in str(operator.bar("Held")["text"])


def test_usage_beside_limits(tenant: Visitor) -> None:
    limits = tenant.page.locator(".limit")
    assert limits.locator("h3").all_inner_texts() == [
        "disk_host_allocated_gib reported only",
        "disk_guest_used_gib reported only",
        "class:DISK_GB enforced",
    ]
    held, guest, claim = (f".limit:nth-of-type({number})" for number in (1, 2, 3))
    over = tenant.bar("Used", within=held)
    assert over["text"] == "335 GiB 35.1 GiB over limit 300 GiB"
    assert over["solid"] == [0, pytest.approx(335 / 300, abs=0.01)]
    assert tenant.bar("Used", within=claim)["text"] == "420 GiB limit 500 GiB"
    assert tenant.bar("Used", within=claim)["said"] == "84 % of the limit"
    bar = tenant.bar("Used", within=guest)  # a part of nothing
    assert (bar["text"], bar["has_bar"]) == ("81.0 GiB no limit is set", False)
    assert "nothing refuses what goes beyond it" in tenant.page.inner_text(held)
    assert "It is a promise, not a measurement" in tenant.page.inner_text(claim)


def test_what_is_used_of_a_limit_may_be_unknown(operator: Visitor) -> None:
    operator.go(f"#/projects/{scenery.SMALL}", scenery.SMALL)
    bar = operator.bar("Used", within=".limit:nth-of-type(3)")
    assert (bar["text"], bar["has_bar"]) == ("unknown limit 1000 GiB", False)
    operator.go("#/projects", "Projects")
    limits = {row["Project"]: row["Limits"] for row in operator.rows()}
    assert limits == {
        scenery.SHOP: "over disk_host_allocated_gib",
        scenery.LAB: "within",
        scenery.SMALL: "within",
    }


def test_the_past_has_gaps_where_nobody_reported(operator: Visitor, house: House) -> None:
    operator.go(f"#/projects/{scenery.SHOP}", scenery.SHOP)
    start = (houses.NOW - 7 * 24 * scenery.HOUR).isoformat().replace("+", "%2B")
    told = ask(house, f"usages/history?project_id={scenery.SHOP}&start={start}")["history"]
    assert len(told) == 49 - 11
    for color in ("promised", "held", "claimed"):
        curves = operator.page.locator(f"polyline.{color}")
        sync_api.expect(curves).to_have_count(2)
        points = sum(
            len(text.split())
            for text in curves.evaluate_all("all => all.map(one => one.getAttribute('points'))")
        )
        assert points == len(told)
    image = operator.page.locator(".plot svg")
    assert "held from" in str(image.get_attribute("aria-label"))
    operator.page.get_by_text("The numbers").click()
    sync_api.expect(operator.page.locator(".chart tbody tr")).to_have_count(len(told))
    newest = operator.page.locator(".chart tbody tr").first.inner_text().split("\t")
    assert newest == ["2026-11-25 14:00", "420 GiB", "335 GiB", "81.0 GiB"]
    image.hover()
    assert "promised 420 GiB, held" in operator.page.inner_text(".readout")
    operator.page.get_by_role("navigation", name="The last").get_by_text("day", exact=True).click()
    sync_api.expect(operator.page.locator("polyline.held")).to_have_count(1)


# --- findings ---------------------------------------------------------------------------------


def test_findings_begin_with_what_deserves_attention(operator: Visitor) -> None:
    operator.page.get_by_role("link", name="Findings", exact=True).click()
    operator.see("Findings")
    codes = operator.page.locator(".finding h2 code").all_inner_texts()
    assert codes == [
        "qemu-unresponsive",
        "storage-unresponsive",
        "discard-disabled",
        "guest-claim-implausible",
        "untrimmed",
    ]
    untrimmed = operator.page.locator(".finding").last.inner_text()
    assert "What to do: Run fstrim in the guest" in untrimmed
    assert "held 214748364800 bytes" in untrimmed
    operator.page.get_by_text("Notes that only explain numbers").click()
    sync_api.expect(operator.page.locator(".badge.warning")).to_have_count(0)
    assert "agent-disconnected" in operator.text()


def test_findings_by_code_and_severity(operator: Visitor) -> None:
    operator.go("#/findings", "Findings")
    operator.page.get_by_label("Code").fill("no such code!")
    operator.page.get_by_role("button", name="Show").click()
    assert "A code has small letters" in operator.text()
    operator.page.get_by_label("Code").fill("agent-disconnected")
    operator.page.get_by_label("Severity").select_option("info")
    operator.page.get_by_role("button", name="Show").click()
    sync_api.expect(operator.page.locator(".finding")).to_have_count(1)
    assert operator.page.url.endswith("#/findings?code=agent-disconnected&severity=info")
    operator.page.locator(".about a").first.click()
    operator.see("ci-runner-3")
    operator.go("#/findings?severity=error&code=untrimmed", "Findings")
    assert "Nothing like that was found." in operator.text()


# --- tenants ----------------------------------------------------------------------------------


def test_a_tenant_sees_their_own_and_nothing_of_the_host(tenant: Visitor) -> None:
    assert tenant.page.locator("#nav a").all_inner_texts() == ["Usage", "Instances", "Findings"]
    assert "Promised 420 GiB, really held 335 GiB" in tenant.text()
    assert scenery.SHOP in tenant.text()
    seen = [tenant.text()]
    tenant.go("#/instances", "Instances")
    names = {row["Instance"] for row in tenant.rows()}
    assert names == {"database", "search", "ci-runner-3", "web-1", "web-2"}
    seen.append(tenant.text())
    tenant.go("#/findings", "Findings")
    seen.append(tenant.text())
    story(tenant, "database")
    for summary in tenant.page.locator("summary").all():
        summary.click()
    seen.append(tenant.text())
    for text in seen:
        for word in ("compute-", "/var/lib", "instance-0", scenery.LAB, scenery.SMALL):
            assert word not in text


@pytest.mark.parametrize("address", ["#/hosts", "#/projects", f"#/projects/{scenery.LAB}"])
def test_what_is_for_operators_is_no_view_of_a_tenant(tenant: Visitor, address: str) -> None:
    tenant.go(address, "Nothing here")


def test_another_project_s_instance_is_not_there(guest: Invite) -> None:
    tenant = guest(houses.TENANT, refused=frozenset({401, 403, 404}))
    tenant.go(f"#/instances/{scenery.uuid('mail')}", "No answer")
    assert "no such instance, or none that you may see" in tenant.text()
    assert "request req-" in tenant.text()


def test_a_tenant_without_anything_gets_sentences(guest: Invite) -> None:
    poor = guest(houses.POOR)
    assert "No instance of this project is known, so there is nothing to add up." in poor.text()
    poor.go("#/instances", "Instances")
    assert "No instance of this project is known." in poor.text()
    assert poor.page.locator("table").count() == 0
    poor.go("#/findings", "Findings")
    assert "Nothing that deserves attention was found." in poor.text()
