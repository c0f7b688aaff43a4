# SPDX-License-Identifier: Apache-2.0
"""One audit of a host: a plan, questions through lanes, and a report of what came back.

``options`` says what is wanted, ``question`` asks one thing under one deadline, ``images`` and
``storages`` look at the storage, ``interview`` talks to a guest, ``subject`` keeps what was found
out about one domain, ``observer`` puts them in order.
What it all means is concluded elsewhere (``conclude``), without I/O. Neither libvirt nor
``host/`` is imported here: such calls may never return, so they run in the lanes' processes.
"""

from nova_diskaudit.audit.options import AuditError, Options, from_settings
from nova_diskaudit.audit.sweep import could_not_be_audited, sweep

__all__ = ["AuditError", "Options", "could_not_be_audited", "from_settings", "sweep"]
