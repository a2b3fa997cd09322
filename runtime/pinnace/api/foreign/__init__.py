"""Shims that are not ours: programs of containerd's shim protocol (``containerd-shim-runc-v2`` and its kin), as a backend of tasks."""
