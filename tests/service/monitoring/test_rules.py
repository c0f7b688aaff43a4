# SPDX-License-Identifier: Apache-2.0
"""Each rule on series that are made for it, by promtool: when it fires, and when not."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any, NamedTuple

import pytest

from tests.service.monitoring import files

AGENT = 'instance="c1:9752"'
SERVICE = 'instance="s1:8788", job="nova-diskaudit-service"'
SHARED = 'storage="nfs:/exports/nova"'


def agent(name: str, **labels: str) -> str:
    return series(f"nova_diskaudit_agent_{name}", AGENT, **labels)


def service(name: str, **labels: str) -> str:
    return series(f"nova_diskaudit_service_{name}", SERVICE, **labels)


def series(name: str, first: str, **labels: str) -> str:
    more = "".join(f', {label}="{value}"' for label, value in labels.items())
    return f"{name}{{{first}{more}}}"


def disk(name: str, host: str, uuid: str, device: str = "vda", **labels: str) -> str:
    first = f'instance="{host}", instance_uuid="{uuid}", project_id="red", device="{device}"'
    return series(f"nova_diskaudit_disk_{name}", first, **labels)


def promtool(tmp_path: pathlib.Path, *tests: dict[str, Any]) -> None:
    """Run tests of promtool's own; each sample is a minute after the one before."""
    file = tmp_path / "test.yml"
    document = {
        "rule_files": [str(files.RECORDING), str(files.ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", **test} for test in tests],
    }
    file.write_text(json.dumps(document))  # which is YAML
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expecting(
    given: dict[str, str], expression: str, samples: dict[str, float], *minutes: int
) -> dict[str, Any]:
    """A test that an expression has these samples, by their labels, at each of these minutes."""
    expected = [{"labels": labels, "value": value} for labels, value in samples.items()]
    return {
        "input_series": [{"series": name, "values": values} for name, values in given.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected}
            for minute in minutes
        ],
    }


def firing(given: dict[str, str], alert: str, fires: bool, *minutes: int) -> dict[str, Any]:
    """A test that an alert fires, or does not."""
    found = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
    return expecting(given, f"({found}) > bool 0", {"{}": int(fires)}, *minutes)


class Case(NamedTuple):
    """Series with which an alert fires after so many minutes; and how they are when all is well."""

    sick: dict[str, str]
    well: dict[str, str]
    after: int


def held(value: str, **labels: str) -> dict[str, str]:
    return {agent("tokens_held", kind="stats", how="parked", **labels): value}


TOKENS = {agent("tokens_limit", kind="stats"): "2x600"}


def storage(total: str, free: str, promised: str, held: str) -> dict[str, str]:
    """Two hosts share a storage, with an instance each."""
    found = {}
    for host, uuid in (("c1:9752", "one"), ("c2:9752", "two")):
        first = f'{SHARED}, instance="{host}"'
        found |= {
            series("nova_diskaudit_storage_total_bytes", first): total,
            series("nova_diskaudit_storage_free_bytes", first): free,
            series("nova_diskaudit_storage_virtual_sum_bytes", first): promised,
            disk("info", host, uuid, kind="local", storage="nfs:/exports/nova"): "1x6000",
            disk("host_allocated_bytes", host, uuid): held,
        }
    return found


CASES = {
    "NovaDiskauditAgentDown": Case(
        {'up{instance="c1:9752", job="nova-diskaudit-agent"}': "0x30"},
        {
            'up{instance="c1:9752", job="nova-diskaudit-agent"}': "1x30",
            'up{instance="c1:9100", job="node"}': "0x30",
        },
        after=11,
    ),
    "NovaDiskauditAgentStale": Case(
        {
            agent("cycle_start_timestamp_seconds"): "0x60",
            agent("interval_seconds"): "300x60",
        },
        {
            # each five minutes
            agent("cycle_start_timestamp_seconds"): "0 0 0 0 0 300x5 600x5 900x5 1200x5 1500x5",
            agent("interval_seconds"): "300x60",
        },
        after=22,
    ),
    "NovaDiskauditFactsOld": Case(
        {agent("oldest_seconds", part="host"): "3700x30"},
        {
            agent("oldest_seconds", part="host"): "300x30",
            # Nobody is woken for guests without an agent.
            agent("oldest_seconds", part="guest"): "99999x30",
        },
        after=16,
    ),
    "NovaDiskauditCycleFailed": Case(
        {agent("cycle_failed"): "1x30"}, {agent("cycle_failed"): "1x5 0x25"}, after=16
    ),
    "NovaDiskauditLaneHung": Case(
        {agent("lane_parked", lane="storage"): "1x60"},
        {agent("lane_parked", lane="storage"): "1x10 0x50"},
        after=31,
    ),
    "NovaDiskauditLaneRestarts": Case(
        {agent("lane_restarts_total", lane="guest"): "0+1x120"},
        {agent("lane_restarts_total", lane="guest"): "0+0.1x120"},
        after=61,
    ),
    "NovaDiskauditTokensExhausted": Case(
        TOKENS | held("1x600") | {agent("tokens_held", kind="stats", how="orphaned"): "1x600"},
        TOKENS | held("1x600") | {agent("tokens_held", kind="stats", how="active"): "1x600"},
        after=16,
    ),
    "NovaDiskauditQuarantine": Case(
        {agent("quarantined", part="evidence"): "2x90"},
        {agent("quarantined", part="evidence"): "0x90", agent("quarantined", part="guest"): "9x90"},
        after=61,
    ),
    "NovaDiskauditNoEvents": Case(
        {agent("events_connected"): "0x60"}, {agent("events_connected"): "1x60"}, after=31
    ),
    "NovaDiskauditSpoolWaits": Case(
        {agent("spool_oldest_timestamp_seconds"): "0x120"},
        {agent("spool_oldest_timestamp_seconds"): "0+60x120"},
        after=80,
    ),
    "NovaDiskauditSpoolGrows": Case(
        {agent("spool_states"): "90+1x120"}, {agent("spool_states"): "200-1x120"}, after=75
    ),
    "NovaDiskauditStatesLost": Case(
        {agent("drops_total"): "0x30 3x30"}, {agent("drops_total"): "3x60"}, after=35
    ),
    "NovaDiskauditSpoolBroken": Case(
        {agent("spool_in_memory"): "0x60", agent("spool_problem"): "1x60"},
        {agent("spool_in_memory"): "0x60", agent("spool_problem"): "0x60"},
        after=16,
    ),
    "NovaDiskauditStatesRejected": Case(
        {agent("spool_rejected_total"): "0x30 1x30"},
        {agent("spool_rejected_total"): "1x60"},
        after=35,
    ),
    "NovaDiskauditPublisherFails": Case(
        {agent("publisher_problem"): "1x60", agent("publisher_enabled"): "1x60"},
        {agent("publisher_problem"): "1x10 0x50", agent("publisher_enabled"): "1x60"},
        after=31,
    ),
    "NovaDiskauditStorageUnresponsive": Case(
        {
            series(
                "nova_diskaudit_storage_finding",
                AGENT,
                storage="mount:/srv",
                code="storage-unresponsive",
                severity="error",
            ): "1x60"
        },
        {
            series(
                "nova_diskaudit_storage_finding",
                AGENT,
                storage="mount:/srv",
                code="storage-scan-incomplete",
                severity="info",
            ): "1x60"
        },
        after=11,
    ),
    "NovaDiskauditStorageNearlyFull": Case(
        storage("1000x60", "90x60", "400x60", "400x60"),
        # The same is promised many times over, and free.
        storage("1000x60", "110x60", "9000x60", "400x60"),
        after=16,
    ),
    "NovaDiskauditStorageFull": Case(
        storage("1000x60", "20x60", "400x60", "400x60"),
        storage("1000x60", "90x60", "400x60", "400x60"),
        after=6,
    ),
    "NovaDiskauditStorageOverpromised": Case(
        # 2 x (400 - 300) are owed, 150 are free
        storage("1000x60", "150x60", "400x60", "300x60"),
        # 2 x (360 - 300) are owed
        storage("1000x60", "150x60", "360x60", "300x60"),
        after=31,
    ),
    "NovaDiskauditStorageFillsUp": Case(
        storage("10000x600", "3900-1x600", "400x600", "400x600"),
        storage("10000x600", "3900x600", "400x600", "400x600"),
        after=430,
    ),
    "NovaDiskauditStorageInodes": Case(
        {series("nova_diskaudit_storage_inodes_free", AGENT, storage="s"): "900x60"},
        {series("nova_diskaudit_storage_inodes_free", AGENT, storage="s"): "90000x60"},
        after=16,
    ),
    "NovaDiskauditServiceDown": Case(
        {f"up{{{SERVICE}}}": "0x30"}, {f"up{{{SERVICE}}}": "1x30"}, after=6
    ),
    "NovaDiskauditHostsSilent": Case(
        {service("hosts"): "5x60", service("hosts_reported", within_seconds="3600"): "4x60"},
        {
            service("hosts"): "5x60",
            service("hosts_reported", within_seconds="3600"): "5x60",
            service("hosts_reported", within_seconds="300"): "3x60",
        },
        after=31,
    ),
    "NovaDiskauditNoReports": Case(
        {service("hosts"): "5x90", service("reports_accepted_total"): "70x90"},
        {service("hosts"): "5x90", service("reports_accepted_total"): "70+5x90"},
        after=45,
    ),
    "NovaDiskauditRollupOld": Case(
        {service("hosts"): "5x60"},
        {service("hosts"): "5x60", service("rollup_age_seconds"): "200x60"},
        after=11,
    ),
    "NovaDiskauditNovaMapOld": Case(
        {service("nova_map_age_seconds"): "1700+60x60"},
        {service("nova_map_age_seconds"): "60x60"},
        after=13,
    ),
    "NovaDiskauditGnocchiOld": Case(
        {service("gnocchi_age_seconds"): "3700x60"},
        {service("gnocchi_age_seconds"): "300x60"},
        after=16,
    ),
    "NovaDiskauditHostClaimImplausible": Case(
        {service("findings", code="host-claim-implausible", severity="warning"): "1x60"},
        {service("findings", code="untrimmed", severity="info"): "900x60"},
        after=16,
    ),
    "NovaDiskauditTwoAgents": Case(
        {service("findings", code="two-agents-one-host", severity="warning"): "1x60"},
        {service("findings", code="untrimmed", severity="info"): "900x60"},
        after=16,
    ),
    "NovaDiskauditInstanceOnTwoHosts": Case(
        {service("findings", code="instance-on-two-hosts", severity="warning"): "2x60"},
        {service("findings", code="instance-elsewhere", severity="warning"): "2x60"},
        after=16,
    ),
    "NovaDiskauditInstanceWithoutDomain": Case(
        {service("findings", code="instance-without-domain", severity="error"): "1x90"},
        {service("findings", code="instance-not-in-nova", severity="warning"): "1x90"},
        after=61,
    ),
    "NovaDiskauditLeftBehind": Case(
        {service("findings", code="orphan-disk-file", severity="warning"): "1x1500"},
        {service("findings", code="claim-mismatch", severity="warning"): "1x1500"},
        after=1441,
    ),
    "NovaDiskauditClockSkew": Case(
        {service("findings", code="clock-skew", severity="warning"): "1x90"},
        {service("findings", code="untrimmed", severity="info"): "900x90"},
        after=61,
    ),
}


def test_promtool_finds_them_correct() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint-fatal", str(files.RECORDING), str(files.ALERTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == files.alerts().keys()


@pytest.mark.parametrize("alert", files.alerts())
def test_an_alert_says_what_to_do(alert: str) -> None:
    rule = files.alerts()[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "action"}
    for text in rule["annotations"].values():
        assert "\n" not in text and 10 < len(text) < 400


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_when_it_is_time_and_else_is_silent(tmp_path: pathlib.Path, alert: str) -> None:
    case = CASES[alert]
    promtool(
        tmp_path,
        firing(case.sick, alert, True, case.after),
        firing(case.sick, alert, False, 0, 1),
        firing(case.well, alert, False, *range(0, case.after + 1, 5), case.after),
    )


def test_an_old_roll_up_is_told_as_one_that_never_was(tmp_path: pathlib.Path) -> None:
    old = {service("hosts"): "5x60", service("rollup_age_seconds"): "1900x60"}
    promtool(tmp_path, firing(old, "NovaDiskauditRollupOld", True, 11))


def test_two_targets_of_one_service_are_one(tmp_path: pathlib.Path) -> None:
    given = {}
    for one in (SERVICE, SERVICE.replace("s1", "s2")):
        given[f"nova_diskaudit_service_hosts{{{one}}}"] = "5x60"
        labels = f'{one}, within_seconds="3600"'
        given[f"nova_diskaudit_service_hosts_reported{{{labels}}}"] = "3x60"
    alerts = 'count(ALERTS{alertname="NovaDiskauditHostsSilent"})'
    promtool(tmp_path, expecting(given, alerts, {"{}": 1}, 20))


# --- what is recorded -------------------------------------------------------------------------

#: Two hosts that share a storage, a volume, and a disk of which nothing is known.
FLEET = storage("1000x60", "150x60", "400x60", "300x60") | {
    disk("virtual_bytes", "c1:9752", "one"): "400x60",
    disk("virtual_bytes", "c2:9752", "two"): "400x60",
    disk("guest_used_bytes", "c1:9752", "one"): "250x60",
    disk("reclaimable_low_bytes", "c1:9752", "one"): "10x60",
    disk("reclaimable_high_bytes", "c1:9752", "one"): "50x60",
    disk("info", "c1:9752", "one", "vdb", kind="volume", storage=""): "1x60",
    disk("virtual_bytes", "c1:9752", "one", "vdb"): "9000x60",
    disk("info", "c1:9752", "one", "vdc", kind="local", storage=""): "1x60",
}

RECORDED = {
    "instance:nova_diskaudit_disks:count": {'{instance="c1:9752"}': 2, '{instance="c2:9752"}': 1},
    "instance:nova_diskaudit_disks_unknown:count": {
        '{instance="c1:9752"}': 1,
        '{instance="c2:9752"}': 0,
    },
    "instance:nova_diskaudit_disk_virtual_bytes:sum": {
        '{instance="c1:9752"}': 400,
        '{instance="c2:9752"}': 400,
    },
    "instance:nova_diskaudit_disk_host_allocated_bytes:sum": {
        '{instance="c1:9752"}': 300,
        '{instance="c2:9752"}': 300,
    },
    "instance:nova_diskaudit_disk_guest_used_bytes:sum": {'{instance="c1:9752"}': 250},
    "instance:nova_diskaudit_disk_reclaimable_low_bytes:sum": {'{instance="c1:9752"}': 10},
    "instance:nova_diskaudit_disk_reclaimable_high_bytes:sum": {'{instance="c1:9752"}': 50},
    "storage:nova_diskaudit_storage_total_bytes:max": {f"{{{SHARED}}}": 1000},
    "storage:nova_diskaudit_storage_free_bytes:min": {f"{{{SHARED}}}": 150},
    "storage:nova_diskaudit_storage_virtual_bytes:sum": {f"{{{SHARED}}}": 800},
    "storage:nova_diskaudit_disk_host_allocated_bytes:sum": {f"{{{SHARED}}}": 600},
    "storage:nova_diskaudit_storage_outstanding_bytes:sum": {f"{{{SHARED}}}": 200},
    "storage:nova_diskaudit_storage_used:ratio": {f"{{{SHARED}}}": 0.85},
    "storage:nova_diskaudit_storage_outstanding:ratio": {f"{{{SHARED}}}": 200 / 150},
}


@pytest.mark.parametrize("name", sorted(files.recorded()))
def test_what_is_recorded(tmp_path: pathlib.Path, name: str) -> None:
    given, expected = FLEET, RECORDED.get(name)
    if expected is None:
        # Of projects: what each target of the service says is the same.
        metric = name.split(":")[1]
        both = (SERVICE, SERVICE.replace("s1", "s2"))
        given = {f'{metric}{{{one}, project_id="red"}}': "7x60" for one in both}
        expected = {'{job="nova-diskaudit-service", project_id="red"}': 7}
    samples = {f"{name}{labels}": value for labels, value in expected.items()}
    promtool(tmp_path, expecting(given, name, samples, 0))
