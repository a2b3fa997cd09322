"""Runs on a board: every row under every runtime. Standard library alone.

    python3 board_rows.py PLACE < rows.tar > results.json

The input is a tar of ``rows/N/...``, bundles without programs; ``PLACE/programs`` are linked into each root's ``bin``,
``PLACE/runtimes.json`` names the commands. A bundle is at ``PLACE/bundle`` while it runs, where its configuration has it.
The output gives for each row and runtime the status, output and errors, and the namespaces that the commands ran in.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile

SECONDS = 60
ID = "pinnace-table"


def unpack(archive: tarfile.TarFile, target: str) -> None:
    """Everything as it is, devices and owners too: we made it."""
    if hasattr(tarfile, "fully_trusted_filter"):  # not before Python 3.11.4
        archive.extraction_filter = tarfile.fully_trusted_filter
    archive.extractall(target)


def renew(place: str, row: str) -> str:
    """The bundle of a row, as if nothing had run in it."""
    bundle = f"{place}/bundle"
    unmount_below(bundle)
    shutil.rmtree(bundle, ignore_errors=True)
    with tarfile.open(f"{place}/rows/{row}.tar") as archive:
        unpack(archive, bundle)
    for name in os.listdir(f"{place}/programs"):
        os.link(f"{place}/programs/{name}", f"{bundle}/rootfs/bin/{name}")
    return bundle


def unmount_below(folder: str) -> None:
    """What a container without a mount namespace mounted is the board's, and there until it is taken away."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        targets = [line.split()[4] for line in file]
    for target in reversed(targets):
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", target], check=True)


def call(
    place: str, runtime: dict[str, object], bundle: str, words: list[str]
) -> dict[str, object]:
    """Run a command; its output goes to files, which a container may hold longer."""
    places = [f"{place}/{name}" for name in ("output", "error")]
    command = [*runtime["command"], "--root", f"{place}/state-{runtime['name']}", *words]  # type: ignore[misc]
    environment = {**os.environ, **runtime["environment"]}  # type: ignore[dict-item]
    with open(places[0], "wb") as output, open(places[1], "wb") as error:
        try:
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=error, cwd=bundle,
                env=environment, timeout=SECONDS, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            status = -1
    texts = []
    for each in places:
        with open(each, encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    return {"status": status, "output": texts[0], "error": texts[1]}


def main(place: str) -> None:
    """Unpack the rows, run all, and tell."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        unpack(archive, place)
    with open(f"{place}/runtimes.json", encoding="utf-8") as file:
        runtimes = json.load(file)
    found = {}
    for name in sorted(os.listdir(f"{place}/rows")):
        row = name.removesuffix(".tar")
        found[row] = {}
        for runtime in runtimes:
            bundle = renew(place, row)
            found[row][runtime["name"]] = call(
                place, runtime, bundle, ["run", "--bundle", bundle, ID]
            )
            if os.path.exists(f"{place}/state-{runtime['name']}/{ID}"):
                call(place, runtime, bundle, ["delete", "--force", ID])
    own = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    json.dump({"rows": found, "namespaces": own}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
