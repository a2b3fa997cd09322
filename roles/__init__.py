"""What a board should be: one module per role, each with a ``recipe`` that yields resources.

A recipe gets a :class:`roles.context.Board` (settings from the inventory, facts from the board) and
only declares; the order of its lines is the order in which the board is changed.
"""
