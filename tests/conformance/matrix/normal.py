"""What differs from run to run taken out of what a command prints: places, ids, times, sizes, columns."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Image(NamedTuple):
    """The image of the stories, and the digests of its parts: the same on both sides."""

    name: str
    top: str
    """Its index; ``index`` is a method of every tuple."""
    manifest: str
    config: str
    layer: str
    chain: str
    """The snapshot that its only layer becomes."""

    @classmethod
    def of(cls, archive: Path) -> Image:
        """Read an OCI layout (tar) of one image with one layer."""
        with tarfile.open(archive) as tar:

            def read(name: str) -> Any:
                file = tar.extractfile(name)
                assert file is not None
                return json.load(file)

            def blob(digest: str) -> Any:
                return read("blobs/" + digest.replace(":", "/"))

            (entry,) = read("index.json")["manifests"]
            found = blob(entry["digest"])
            manifest = entry["digest"]
            if "manifests" in found:
                manifest = found["manifests"][0]["digest"]
                found = blob(manifest)
            (layer,) = found["layers"]
            (chain,) = blob(found["config"]["digest"])["rootfs"]["diff_ids"]
        name = entry["annotations"]["io.containerd.image.name"]
        return cls(
            name, entry["digest"], manifest, found["config"]["digest"], layer["digest"], chain
        )


_RULES = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d| ?UTC|Z)?( UTC)?", "TIME"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"(?<=elapsed: )\d+\.\d+ ?s\b", "SECONDS"),
    (r"\b\d+(\.\d+)?[mµ]?s\b", "DURATION"),
    # A cell of eight letters ends at the next tab stop: containerd's table puts nothing behind it.
    (r"(?<=\d )second(?=containerd)", "second "),
    (r"\b([Ll]ess than a|[Aa]n?|[Aa]bout an?|\d+) (second|minute|hour)s?( ago)?\b", "AGE"),
    (r"\b\d+(\.\d+)? ?[KMGT]i?B/s", "RATE"),
    (r"\d+-\d{6,9}-\w{4} sha256:", "KEY sha256:"),
    (r"(?<= )\d+(?= +(RUNNING|PAUSED|STOPPED|CREATED)$)", "PID"),
    (r"^\d+(?= +-$)", "PID"),
    (r'(?<="pidns": )\d+|(?<="pid": )\d+', "N"),
    (r"(?<=/snapshots/)\d+(?=/)", "N"),
    (r"\x1b\[[0-9;]*[A-Za-z]", ""),
    (r"(: [a-z ]+)\1+$", r"\1"),  # containerd says the class of an error once or twice
    (r"[ \t]+", " "),
    (r" +$", ""),
)
_COMPILED = tuple((re.compile(rule, re.M), word) for rule, word in _RULES)


def normal(text: str, places: Mapping[str, str], image: Image) -> str:
    """*text* with ``places`` (and the image's digests) under their names, the rest in general words."""
    for place, word in places.items():
        text = text.replace(place, word)
    for field in ("top", "manifest", "config", "layer", "chain"):
        digest = getattr(image, field)
        text = text.replace(digest, f"<{field}>").replace(digest.split(":")[1], f"<{field}>")
    for rule, word in _COMPILED:
        text = rule.sub(word, text)
    text = _LABELS.sub(_sorted_labels, text)
    return re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)


_LABELS = re.compile(r"[\w./-]+=[^\s,]*(?:,[\w./-]+=[^\s,]*)+")


def _sorted_labels(match: re.Match[str]) -> str:
    """Labels of one thing: Go prints a map in any order."""
    return ",".join(sorted(match[0].split(",")))
