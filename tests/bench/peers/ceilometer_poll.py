# SPDX-License-Identifier: Apache-2.0
"""What runs in Ceilometer's own virtual environment: ``ceilometer_poll.py CONFIGURATION``.

For each line of standard input the instances of the host are discovered and polled once, as
``ceilometer-polling`` does; samples are printed as they come, and an empty line at the end.
Nothing of this tree is imported.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """See the module's docstring."""
    from ceilometer import service
    from ceilometer.compute.discovery import InstanceDiscovery
    from ceilometer.compute.pollsters import disk

    conf = service.prepare_service([], config_files=[sys.argv[1]])
    discovery = InstanceDiscovery(conf)
    pollsters = [
        disk.PerDeviceCapacityPollster(conf),
        disk.PerDeviceAllocationPollster(conf),
        disk.PerDevicePhysicalPollster(conf),
    ]
    for pollster in pollsters:
        pollster.setup_environment()
    for _ in sys.stdin:
        cache: dict[str, object] = {}
        instances = discovery.discover(None)
        for pollster in pollsters:
            for sample in pollster.get_samples(None, cache, instances):
                about = sample.resource_metadata
                print(
                    json.dumps([sample.name, about["name"], about["disk_name"], sample.volume]),
                    flush=True,
                )
        print(flush=True)


if __name__ == "__main__":
    main()
