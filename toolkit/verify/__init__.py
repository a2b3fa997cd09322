"""``./inv verify``: the testinfra modules of ``tests/board`` against a board, over one SSH connection."""
