"""One table of configurations, run by our runtime, Debian's runc and crun on the same bundle.

``table`` says what a row is, ``rows`` has them by subject, ``runtimes`` and ``bundle`` run one,
``report`` is what the probe inside (``probe.c``) saw, ``differences`` says where the three do not agree and why.
"""
