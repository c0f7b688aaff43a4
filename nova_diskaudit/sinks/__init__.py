# SPDX-License-Identifier: Apache-2.0
"""What is verified, to where a cloud keeps its series: Gnocchi.

A sink reads the store, and what it cannot get rid of waits there; no report and no reader of the
API ever waits for it.
"""
