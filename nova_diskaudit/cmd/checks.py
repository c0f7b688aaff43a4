# SPDX-License-Identifier: Apache-2.0
"""What ``nova-diskaudit-status upgrade check`` looks at."""

from __future__ import annotations

from oslo_config import cfg
from oslo_upgradecheck import common_checks, upgradecheck

from nova_diskaudit.conf import service
from nova_diskaudit.store import engine, errors, schema


class Checks(upgradecheck.UpgradeCommands):
    """What is looked at; nothing is changed."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__()
        self._conf = conf

    def _database(self) -> upgradecheck.Result:
        try:
            made = engine.create(self._conf.database.connection, **service.database(self._conf))
            found = schema.current(made)
        except errors.StoreError as error:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, str(error))
        if found == schema.newest():
            return upgradecheck.Result(upgradecheck.Code.SUCCESS)
        if found is not None and found not in schema.steps():
            return upgradecheck.Result(
                upgradecheck.Code.FAILURE, f"the tables are those of a newer release ({found})"
            )
        return upgradecheck.Result(
            upgradecheck.Code.WARNING, "run nova-diskaudit-manage db sync with this release"
        )

    def _token_cache(self) -> upgradecheck.Result:
        seconds = self._conf.keystone_authtoken.token_cache_time
        if self._conf.api.auth_strategy == "keystone" and 0 <= seconds < 900:
            return upgradecheck.Result(
                upgradecheck.Code.WARNING,
                f"[keystone_authtoken] token_cache_time = {seconds}: with less than 900 Keystone "
                "is asked for each report",
            )
        return upgradecheck.Result(upgradecheck.Code.SUCCESS)

    def _policy_file(self) -> upgradecheck.Result:
        return common_checks.check_policy_json(self, self._conf)

    _upgrade_checks = (
        ("Database", _database),
        ("Token cache", _token_cache),
        ("Policy file", _policy_file),
    )
