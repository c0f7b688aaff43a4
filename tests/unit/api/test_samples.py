# SPDX-License-Identifier: Apache-2.0
"""The sample files of the service are what the generators make."""

from __future__ import annotations

import configparser
import pathlib
import re

from oslo_config import generator
from oslo_policy import generator as policy_generator

from nova_diskaudit.conf import api, limits, nova, reconcile, rollup, scheduler, service

ETC = pathlib.Path(__file__).parents[3] / "etc/nova-diskaudit"


def test_the_sample_of_policies(tmp_path: pathlib.Path) -> None:
    made = tmp_path / "sample"
    file = str(ETC / "policy-generator.conf")
    policy_generator.generate_sample(["--config-file", file, "--output-file", str(made)])
    how = "oslopolicy-sample-generator --config-file etc/nova-diskaudit/policy-generator.conf"
    assert (ETC / "policy.yaml.sample").read_text() == made.read_text(), how


def test_the_sample_of_options(tmp_path: pathlib.Path) -> None:
    """What other libraries define is worded by them, from release to release."""
    made = tmp_path / "sample"
    file = str(ETC / "api-config-generator.conf")
    generator.main(["--config-file", file, "--output-file", str(made)])
    kept = (ETC / "nova-diskaudit-api.conf.sample").read_text()
    how = "oslo-config-generator --config-file etc/nova-diskaudit/api-config-generator.conf"
    ours = (api, limits, reconcile, rollup)
    for group in (one.GROUP.name for one in ours):
        assert _part(kept, group) == _part(made.read_text(), group), how
    names = {line for line in made.read_text().splitlines() if re.match(r"#\w+ = ", line)}
    assert names <= set(kept.splitlines()), how
    assert all(one.help for room in ours for one in room.OPTIONS)
    assert all(one.help for one in nova.OWN)


def test_the_sample_of_options_for_novas_scheduler(tmp_path: pathlib.Path) -> None:
    made = tmp_path / "sample"
    file = "etc/nova-diskaudit/nova-scheduler-config-generator.conf"
    generator.main(["--config-file", str(ETC.parents[1] / file), "--output-file", str(made)])
    kept = (ETC / "nova-scheduler.conf.sample").read_text()
    group = scheduler.GROUP.name
    assert _part(kept, group) == _part(made.read_text(), group), f"oslo-config-generator: {file}"
    names = {line for line in made.read_text().splitlines() if re.match(r"#\w+ = ", line)}
    assert names <= set(kept.splitlines())


def _part(text: str, group: str) -> str:
    return text.partition(f"[{group}]")[2].partition("\n[")[0]


def test_what_is_preset() -> None:
    conf = service.unread()
    conf([], default_config_files=[], default_config_dirs=[])
    assert conf.keystone_authtoken.service_type == "disk-audit"
    assert conf.keystone_authtoken.token_cache_time == 900
    assert conf.database.connection.startswith("sqlite:////var/lib/nova-diskaudit/")
    assert conf.api.auth_strategy == "keystone"


def test_the_file_for_uwsgi() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ETC / "nova-diskaudit-api-uwsgi.ini")
    module, _, name = parser["uwsgi"]["module"].partition(":")
    assert (module, name) == ("nova_diskaudit.wsgi.api", "application")
    assert parser["uwsgi"]["http-socket"].startswith("127.0.0.1:")
