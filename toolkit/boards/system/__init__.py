"""Full-system boards, ``sys-*``: a whole machine in QEMU, with an ARM kernel of its own.

Nothing here needs root, and nothing is installed: QEMU, the root file system and the kernel are Debian
packages, unpacked as the person who asks.
"""
