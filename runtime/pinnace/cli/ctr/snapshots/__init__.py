"""Verbs on snapshots."""
