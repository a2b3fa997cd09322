"""Rollouts over a fleet: ordered batches, health gates, rollback, and a journal to go on from."""
