"""Plans: roles compiled to data for one board, and their way through one agent process."""
