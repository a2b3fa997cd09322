"""A command over hosts as JUnit XML: a test case for each host, which CI systems show as they show tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

from toolkit.report.events import Status
from toolkit.report.timeline import Line, Timeline


def write(path: Path, timeline: Timeline, name: str) -> None:
    """Write the report to ``path``; hosts that had no turn are skipped tests."""
    lines = list(timeline.lines.values())
    suite = Xml.Element(
        "testsuite", name=name, tests=str(len(lines)),
        failures=str(sum(line.failed for line in lines)),
        skipped=str(sum(line.status is Status.WAITING for line in lines)),
        errors="0", time=f"{timeline.ended - timeline.began:.3f}",
    )  # fmt: skip
    for line in lines:
        suite.append(_case(line, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(line: Line, name: str) -> Xml.Element:
    seconds = (line.ended or 0) - (line.began or 0) if line.ended else 0
    case = Xml.Element(
        "testcase", classname=line.batch or name, name=line.host, time=f"{seconds:.3f}"
    )
    if line.failed:
        Xml.SubElement(case, "failure", message=line.problem).text = f"{line.status}: {line.problem}"  # fmt: skip
    elif line.status is Status.WAITING:
        Xml.SubElement(case, "skipped", message="the rollout was stopped before its turn")
    return case
