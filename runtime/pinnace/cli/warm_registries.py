"""What the keeper imports once a command that speaks to registries was seen: 4 MB that other boards do not need."""

from __future__ import annotations

import pinnace.cli.ctr.images.pull
import pinnace.cli.skopeo.copying
import pinnace.cli.skopeo.inspect
import pinnace.cli.skopeo.policies
import pinnace.cli.skopeo.tags
import pinnace.daemon.config
import pinnace.daemon.registries
import pinnace.daemon.settings
import pinnace.daemon.toml
import pinnace.images.copy
import pinnace.images.signing.storage
import pinnace.images.transports.directory
import pinnace.images.transports.layout
import pinnace.images.transports.registry
import pinnace.registry.listing
import pinnace.registry.resolver  # noqa: F401 (each is imported for having been imported)
