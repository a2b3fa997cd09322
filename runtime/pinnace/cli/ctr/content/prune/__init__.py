"""Verbs that make the content store forget what it only keeps for later."""
