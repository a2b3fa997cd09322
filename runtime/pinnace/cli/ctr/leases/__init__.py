"""Verbs on leases."""
