"""Answers with the temperature: ``GET /`` measures and keeps a reading, ``GET /history`` has all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

PROGRAM = "/usr/local/bin/reading"
SENSOR = Path(os.environ.get("SENSOR", "/sys/bus/iio/devices/iio:device0/in_voltage0_raw"))
HISTORY = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/greenhouse")) / "history"


def measure() -> float:
    """The temperature now, in degrees Celsius; raises ``CalledProcessError``."""
    done = subprocess.run([PROGRAM, SENSOR], capture_output=True, text=True, check=True)
    return float(done.stdout)


def keep(value: float) -> None:
    """Add a reading to the history. It is on the disk when this returns."""
    with HISTORY.open("a") as file:
        file.write(f"{value}\n")
        file.flush()
        os.fsync(file.fileno())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            if self.path == "/history":
                lines = HISTORY.read_text().split() if HISTORY.exists() else []
                self.answer(200, [float(line) for line in lines])
                return
            value = measure()
            keep(value)
            self.answer(200, {"celsius": value})
        except subprocess.CalledProcessError as problem:
            self.answer(503, {"error": problem.stderr.strip()})

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
