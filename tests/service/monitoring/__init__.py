# SPDX-License-Identifier: Apache-2.0
"""Rules and dashboard, held against what is really exported, in a real Prometheus."""
