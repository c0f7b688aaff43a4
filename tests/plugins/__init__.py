# SPDX-License-Identifier: Apache-2.0
"""What runs inside of other programs, tested inside of them: Nova 34.0.0, Ceilometer.

Both have environments of their own, made once and cached. nova-diskaudit is installed beside them
as an operator would, from a wheel, and the tests in ``in_nova`` and ``in_ceilometer`` run there.
"""
