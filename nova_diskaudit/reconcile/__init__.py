# SPDX-License-Identifier: Apache-2.0
"""Holds the store against the cloud: the only room that knows both."""
