"""Engines of Debian that run their containers with our ``runc`` instead of their own."""
