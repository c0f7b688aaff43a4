# SPDX-License-Identifier: Apache-2.0
"""What the guest says about itself: the channel to its agent, and the strict reading of it.

Everything here comes from a tenant. Only bounded, typed, cleaned values leave this room, and no
conclusion is drawn in it.
"""
