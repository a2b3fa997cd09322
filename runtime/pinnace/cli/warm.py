"""What the keeper imports before it forks commands: the modules of the common verbs.

Importing costs a board more than most commands do; done once here, a forked command has it for nothing.
"""

from __future__ import annotations

import pinnace.cli.ctr.containers.create
import pinnace.cli.ctr.containers.info
import pinnace.cli.ctr.containers.list
import pinnace.cli.ctr.containers.remove
import pinnace.cli.ctr.images.list
import pinnace.cli.ctr.images.remove
import pinnace.cli.ctr.images.tag
import pinnace.cli.ctr.namespaces.list
import pinnace.cli.ctr.run
import pinnace.cli.ctr.tasks.exec
import pinnace.cli.ctr.tasks.kill
import pinnace.cli.ctr.tasks.list
import pinnace.cli.ctr.tasks.ps
import pinnace.cli.ctr.tasks.remove
import pinnace.cli.ctr.tasks.start
import pinnace.cli.ctr.version
import pinnace.cli.main
import pinnace.cli.rehearsal
import pinnace.cli.runc
import pinnace.cli.runc.delete
import pinnace.cli.runc.exec
import pinnace.cli.runc.kill
import pinnace.cli.runc.run
import pinnace.cli.runc.start
import pinnace.cli.runc.state
import pinnace.linux.seccomp
import pinnace.runc.init  # noqa: F401 (each is imported for having been imported)
