# SPDX-License-Identifier: Apache-2.0
"""``python -I -m nova_diskaudit.lane URI``: started by the parent, never by hand."""

import sys

from nova_diskaudit.lane.forker import main

main(sys.argv[1])
