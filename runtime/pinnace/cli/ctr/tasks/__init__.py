"""Verbs on tasks."""
