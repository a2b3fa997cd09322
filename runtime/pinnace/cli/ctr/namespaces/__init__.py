"""Verbs on namespaces."""
