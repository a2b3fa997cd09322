"""The board side of a converge: inspects, compares and applies one plan in one process.

Sent over the SSH channel and run as root by :mod:`toolkit.plan.ship`; nothing is installed on the
board. Standard library only, Python 3.9 and later, few imports: on an ARMv6 board each costs
milliseconds, so rarely needed ones are made where they are used.
"""
