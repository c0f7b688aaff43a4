# SPDX-License-Identifier: Apache-2.0
"""The truth about what the disks of every Nova instance hold."""
