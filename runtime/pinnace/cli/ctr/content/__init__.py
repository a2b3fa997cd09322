"""Verbs on the content store."""
