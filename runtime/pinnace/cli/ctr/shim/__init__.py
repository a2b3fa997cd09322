"""Verbs that speak to one container's shim, past the daemon."""
