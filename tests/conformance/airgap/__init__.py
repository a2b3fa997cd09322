"""Boards that are provisioned without a network, on real boards."""
