# SPDX-License-Identifier: Apache-2.0
"""What is done for each call, one file a noun. Who may call was decided before."""
