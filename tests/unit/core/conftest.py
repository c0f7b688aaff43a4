# SPDX-License-Identifier: Apache-2.0
"""No deadline for single examples: what is bounded in time is tested as such."""

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
