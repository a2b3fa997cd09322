"""Signatures of what boards take: made here with ``ssh-keygen -Y sign``, verified on the board.

:mod:`toolkit.signing.keys` chooses, makes and uses keys,
:mod:`toolkit.agent.signed` is the board's half.
"""
