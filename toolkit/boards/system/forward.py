"""What a board's connection to ``registry.lab`` is given to: carries it to the lab registry that runs now.

QEMU starts this program for each connection, with the connection as standard input and output. The
argument is the registry's record, so that a board never depends on where or when the registry was
started. Standard library only, and little of it: it starts in milliseconds.
"""

from __future__ import annotations

import json
import select
import socket
import sys


def main() -> None:
    """Entry point; ends when either side has closed, or at once where no registry runs."""
    try:
        with open(sys.argv[1]) as record:
            entry = json.load(record)
        server = socket.create_connection((entry["address"], entry["port"]), timeout=10)
    except (OSError, ValueError, KeyError):
        return
    server.settimeout(None)
    board = socket.socket(fileno=0)
    other = {board: server, server: board}
    open_ends = [board, server]
    while open_ends:
        for readable in select.select(open_ends, [], [])[0]:
            data = readable.recv(65536)
            if data:
                other[readable].sendall(data)
            else:
                open_ends.remove(readable)
                other[readable].shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    try:
        main()
    except OSError:
        sys.exit(1)  # a side went away in the middle, which it sees itself
