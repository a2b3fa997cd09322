"""Verbs on OCI documents."""
