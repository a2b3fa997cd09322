"""Secrets: named where they are used, read when a plan needs them, never shown."""
