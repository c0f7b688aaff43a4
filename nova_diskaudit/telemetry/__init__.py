# SPDX-License-Identifier: Apache-2.0
"""What runs inside of Ceilometer's compute agent: two pollsters that read our agent's socket.

``facts`` reads and judges, ``pollsters`` makes Ceilometer's samples of it.
"""
