"""What a board should be: one module per role, each with a ``recipe`` that yields resources.

A recipe gets a :class:`roles.context.Board` (settings from the inventory, facts from the board) and
only declares; the order of its lines is the order in which the board is changed.
"""

from __future__ import annotations

import os

# Roles of somebody's own, in folders outside this checkout: one module each, found by its file's name.
__path__ += [folder for folder in os.environ.get("PINNACE_ROLES", "").split(os.pathsep) if folder]
