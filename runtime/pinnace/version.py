"""What the runtime says it is."""

VERSION = "0.1.0"

CONTAINERD_VERSION = f"v2.1.9+pinnace.{VERSION}"
"""The containerd release whose behaviour the daemon has, then our own version.

Clients warn when it differs from theirs; some (nerdctl, dockerd) require at least a release.
"""
REVISION = f"pinnace-{VERSION}"
