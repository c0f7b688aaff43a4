# SPDX-License-Identifier: Apache-2.0
"""A whole OpenStack on one machine, and what nova-diskaudit says about the servers in it.

Real: Keystone, Placement, Glance, Nova (API, conductor, scheduler, and a nova-compute with a
libvirtd of its own for each of two hosts), RabbitMQ, MariaDB, memcached, guests with the real
guest agent. A stub: Neutron, which knows no network (:mod:`tests.cloud.neutron`). There is no
Cinder.

    pytest tests/cloud
    python -m tests.cloud up        # to play with; then status, down

Everything listens on 127.0.0.1, at ports that were free, and ends with the process that started
it. Costly things are made once and kept where the lab keeps its own (``tests/lab/README.md``).
"""
