# SPDX-License-Identifier: Apache-2.0
"""In a nova-scheduler with native threads, where eventlet is forbidden and libvirt not needed."""

from __future__ import annotations

import subprocess
import sys

#: As ``nova/cmd/scheduler.py`` begins, then what the thread of the keeper imports, and Nova's API.
_PROGRAM = """
import nova.monkey_patch
nova.monkey_patch.patch(backend="threading")
import sys
sys.modules["libvirt"] = None
import nova.conf
from nova_diskaudit.scheduler import filters, weights
before = set(sys.modules)
print("network", sorted({"openstack", "nova_diskaudit.sdk"} & before))
filters.ActualDiskFilter(), weights.ActualDiskWeigher()
from nova_diskaudit.scheduler import extra_specs, source
extra_specs.register()
look = source.Source(nova.conf.CONF)
try:
    look()
except Exception as error:
    print(error)
print("eventlet", "eventlet" in sys.modules)
"""


def test_native_threads() -> None:
    words = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    network, error, eventlet = done.stdout.splitlines()
    assert network == "network []"
    assert error.startswith("[disk_audit] auth_type is not set")
    assert eventlet == "eventlet False"
