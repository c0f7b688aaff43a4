# SPDX-License-Identifier: Apache-2.0
import math

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from nova_diskaudit.render import prometheus
from tests.unit.render import golden, sample


def _parsed() -> dict[str, Metric]:
    page = prometheus.render(sample.report())
    return {family.name: family for family in text_string_to_metric_families(page)}


def test_golden() -> None:
    golden.check("report.prom", prometheus.render(sample.report()))


def test_a_disk_as_a_scraper_reads_it() -> None:
    families = _parsed()
    labels = {
        "instance_uuid": sample.seed().uuid,
        "project_id": sample.PROJECT,
        "device": "vda",
    }
    disk = sample.seed().disks[0]
    for name, value in {
        "virtual_bytes": disk.virtual_bytes,
        "host_allocated_bytes": disk.host_allocated_bytes,
        "guest_used_bytes": disk.guest_used_bytes,
        "used_low_bytes": disk.used.low,
        "used_high_bytes": disk.used.high,
        "reclaimable_low_bytes": disk.reclaimable.low,
        "high_water_bytes": disk.high_water_bytes,
        "backing_bytes": 0,
    }.items():
        samples = families[f"nova_diskaudit_disk_{name}"].samples
        assert [one.value for one in samples if one.labels == labels] == [value], name


def test_unknown_is_absent() -> None:
    held = _parsed()["nova_diskaudit_disk_host_allocated_bytes"].samples
    assert {one.labels["device"] for one in held if one.labels["project_id"] == sample.PROJECT} == {
        "vda",
        "vdc",
    }
    everything = [one for family in _parsed().values() for one in family.samples]
    assert everything and not any(math.isnan(one.value) for one in everything)


def test_every_series_stands_once_and_speaks_of_no_mount_point() -> None:
    seen = set()
    for family in _parsed().values():
        assert family.type == "gauge" and family.documentation
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in seen
            seen.add(key)
            assert "mountpoint" not in one.labels
            assert all(value.isprintable() for value in one.labels.values())


def test_disks_always_have_the_same_three_labels() -> None:
    for name, family in _parsed().items():
        if name.startswith("nova_diskaudit_disk_") and name.endswith("_bytes"):
            for one in family.samples:
                assert set(one.labels) == {"instance_uuid", "project_id", "device"}


def test_a_file_name_that_is_not_utf8_does_not_spoil_the_scrape() -> None:
    assert "storage_leftovers" in prometheus.render(sample.not_utf8())
