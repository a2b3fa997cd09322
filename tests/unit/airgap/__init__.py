"""Bundles of a fleet and their signatures, without a board."""
