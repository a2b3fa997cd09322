"""The cold start of a command: what the launcher executes when no keeper answers.

`python3 -ISB command.py ctr run ...`: the words behind this file are the command as it was typed. Only this
release's own library is on the path.
"""

import gc
import os
import sys

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib")
)

if os.path.basename(sys.argv[1]) == "runc":  # the one that engines start for every container
    from pinnace import together

    together.install()
    from pinnace import typing_at_runtime

    typing_at_runtime.install()

from pinnace.cli.main import main

if __name__ == "__main__":
    # Modules are no garbage: looking for it in them costs 2 ms of a start.
    gc.set_threshold(50_000)
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads any more
    # Taking the interpreter apart costs 6 ms; a command that the keeper forked ends this way, too.
    os._exit(status & 0xFF)
