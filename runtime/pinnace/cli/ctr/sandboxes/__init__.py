"""Verbs on sandboxes."""
