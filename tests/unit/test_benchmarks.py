"""How benchmarks measure and show, without measuring anything."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.harness import Result, as_json, interleaved, median, plot

RESULT = Result("ctr-run", "containerd <1.7> & runc", 5.0, 109.0, "ms")


def test_runs_alternate_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []
    values = iter(range(100))

    def measure(who: str) -> float:
        order.append(who)
        return float(next(values))

    ours, theirs = interleaved(
        lambda: measure("ours"), lambda: measure("theirs"), rounds=3, warm_up=1
    )
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert (ours, theirs) == ([3.0, 4.0, 7.0], [2.0, 5.0, 6.0])


def test_json_is_what_the_contract_says() -> None:
    assert json.loads(as_json([RESULT])) == {
        "benchmarks": [
            {
                "name": "ctr-run", "peer": "containerd <1.7> & runc", "ours": 5.0,
                "theirs": 109.0, "unit": "ms", "ratio": 0.046,
            }
        ]
    }  # fmt: skip


def test_median_of_nothing_is_an_error() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    with pytest.raises(ValueError, match="nothing"):
        median([])


def test_the_plot_is_a_drawing_of_the_values(tmp_path: Path) -> None:
    plot([RESULT], tmp_path / "docs" / "x.svg", "A & B")
    document = ElementTree.parse(tmp_path / "docs" / "x.svg").getroot()
    texts = " ".join(document.itertext())
    assert "A & B" in texts
    assert "containerd <1.7> & runc" in texts
    bars = [float(each.get("width", "0")) for each in document.iter("{http://www.w3.org/2000/svg}rect")]  # fmt: skip
    assert bars[1] / bars[2] == pytest.approx(5 / 109, rel=0.01)


def test_what_nobody_else_does_has_no_ratio(tmp_path: Path) -> None:
    alone = Result("restore", "", 1.5, None, "s")
    assert json.loads(as_json([alone]))["benchmarks"][0]["ratio"] is None
    plot([alone, RESULT], tmp_path / "x.svg", "title")
    assert "restore" not in (tmp_path / "x.svg").read_text()


def test_nothing_beside_nothing_is_the_same() -> None:
    """And something beside nothing has no ratio that JSON could tell."""
    assert Result("written", "x", 0.0, 0.0, "MiB").ratio == 1.0
    document = json.loads(as_json([Result("written", "x", 0.2, 0.0, "MiB")]))
    assert document["benchmarks"][0]["ratio"] is None
