"""The cold start of a command: what the launcher executes when no keeper answers.

`python3 -ISB command.py ctr run ...`: the words behind this file are the command as it was typed. Only this
release's own library is on the path.
"""

import os
import sys

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib")
)

from pinnace.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
