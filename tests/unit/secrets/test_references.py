"""How an inventory names secrets, and what is said when one is not there: where, never what."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from roles import context
from toolkit import resources
from toolkit.errors import PinnaceError, UsageError
from toolkit.inventory import parser, show
from toolkit.inventory.settings import Settings, resolve
from toolkit.paths import PROJECT
from toolkit.plan.model import Planned, make
from toolkit.secrets import references
from toolkit.secrets.secret import Secret

VALUE = "c4nary-value"


def board(folder: Path, variables: str = "", host: str = "") -> Settings:
    """The settings of ``pi``, with this file of group variables and these words on its line."""
    (folder / "inventory.ini").write_text(f"pi {host}\n")
    (folder / "group_vars").mkdir(exist_ok=True)
    (folder / "group_vars" / "all.yml").write_text(variables)
    return resolve(parser.load(folder / "inventory.ini"), "pi")[1]


def reveal(folder: Path, reference: str) -> str:
    return board(folder, f"secrets:\n  it: !secret {reference}\n").secrets["it"].text()


def test_from_the_environment_which_no_program_inherits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("CANARY", VALUE)
    found = board(tmp_path, "secrets: {it: !secret env:CANARY}")
    assert "CANARY" not in os.environ
    assert found.secrets["it"].text() == VALUE
    assert "c4nary" not in reveal(tmp_path, "command:env")


def test_from_a_command_without_a_shell(tmp_path: Path) -> None:
    assert reveal(tmp_path, "command:echo ' two  words; $HOME'") == " two  words; $HOME"
    (tmp_path / "file").write_text("beside the inventory\n\n")
    assert reveal(tmp_path, "command:cat file") == "beside the inventory\n"


def test_a_command_is_run_once_for_all_who_want_it(tmp_path: Path) -> None:
    line = "command:sh -c 'echo x >>asked; cat asked | wc -l; echo value'"
    assert [reveal(tmp_path, line) for _ in range(3)] == ["1\nvalue"] * 3


def test_in_the_ini_form_as_text(tmp_path: Path) -> None:
    found = board(tmp_path, host="\"secrets={'it': '!secret command:echo value'}\"")
    assert found.secrets["it"].text() == "value"


def test_an_inventory_shows_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", VALUE)
    board(tmp_path, "a: !secret env:CANARY\nb: [!secret 'age:x.age#k']\n")
    inventory = parser.load(tmp_path / "inventory.ini")
    said = show.dump(show.listing(inventory)) + "\n".join(show.graph(inventory, variables=True))
    assert '"a": "!secret env:CANARY"' in said
    assert VALUE not in said


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ("secrets: {it: !secret WIFI}", "env:NAME"),
        ("secrets: {it: !secret 'env:'}", "environment variable"),
        ("secrets: {it: !secret 'env:a b'}", "environment variable"),
        ("secrets: {it: !secret 'vault:x'}", "env:NAME"),
        ("secrets: {it: !secret 'sops:'}", "what is it to read"),
        ("secrets: {it: !secret [a]}", "before text"),
        ("secrets: {it: hunter22}", "not be one"),
        ("registry_auth: {'r:5000': {username: pi, password: hunter22}}", "not be one"),
        ("registry_auth: {'r:5000': {username: pi}}", "username and password"),
    ],
)
def test_a_wrong_one_is_told_with_its_line_and_not_with_what_was_written(
    tmp_path: Path, variables: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why) as problem:
        board(tmp_path, f"# a comment\n{variables}\n")
    assert "group_vars/all.yml:2:" in problem.value.message
    assert "hunter22" not in str(problem.value)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("env:PINNACE_NO_SUCH", "not set"),
        ("age:nosuch.age", "cannot read"),
        ("sops:nosuch.yaml#a", "cannot read"),
        ("command:nosuch-program x", "no program nosuch-program"),
        (f"command:sh -c 'echo {VALUE}; echo {VALUE} >&2; exit 3'", "failed with status 3"),
        ("command:true", "printed nothing"),
        ("command:echo abc", "shorter than"),
        ("command:echo 'x", "not a command"),
    ],
)
def test_one_that_is_not_there_is_told_with_its_line(tmp_path: Path, reference: str, why: str) -> None:  # fmt: skip
    with pytest.raises(PinnaceError, match=why) as problem:
        reveal(tmp_path, reference)
    assert "group_vars/all.yml:2:7: secret" in problem.value.message
    assert f"{VALUE} >&2" in problem.value.message or VALUE not in str(problem.value)


@pytest.mark.parametrize(
    ("key", "found"), [("a.b", "deep"), ("list.1", "two"), ("number", "12345"), ("flag", None), ("a", None), ("list.7", None), ("none.x", None)],
)  # fmt: skip
def test_a_value_inside(key: str, found: str | None) -> None:
    raw = b"a: {b: deep}\nlist: [one, two]\nnumber: 12345\nflag: true\nnone:\n"
    if found is None:
        with pytest.raises(UsageError):
            references._inside(raw, key)
    else:
        assert references._inside(raw, key) == found.encode()


def test_json_that_is_indented_with_tabs() -> None:
    assert references._inside(b'{\n\t"a": {\n\t\t"b": "deep"\n\t}\n}\n', "a.b") == b"deep"


def test_what_json_cannot_say_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="data is not text"):
        references._inside('{"data": "\ufffd\ufffdabcd"}'.encode(), "data")


def test_what_is_no_yaml_is_not_quoted() -> None:
    with pytest.raises(UsageError) as problem:
        references._inside(b"a: [c4nary", "a")
    assert problem.value.__cause__ is None
    assert problem.value.__suppress_context__
    assert "c4nary" not in str(problem.value)


def test_nothing_is_asked_for_before_a_plan_needs_it(tmp_path: Path) -> None:
    found = board(tmp_path, "secrets: {it: !secret 'command:touch asked'}")
    assert isinstance(found.secrets["it"], Secret)
    assert not (tmp_path / "asked").exists()


# -- docs/secrets.md -----------------------------------------------------------------------------

PAGE = (PROJECT / "docs" / "secrets.md").read_text()


def test_the_inventory_of_the_page_is_one(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    found = board(tmp_path, text)
    assert set(found.secrets) == {"wifi", "token", "database", "mqtt", "disk", "backup", "ann"}
    assert (
        found.registry_auth["registry.example:5000"]["password"].name
        == "age:secrets/pi.age#registry"
    )


def test_the_recipe_of_the_page_is_a_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    [recipe] = re.findall(r"```python\n(def recipe.*?)```", PAGE, re.S)
    values = {"ann": "$y$j9T$abcdefgh$" + "x" * 43}
    secrets = {name: Secret(name, lambda name=name: values.get(name, "correct horse").encode()) for name in ("wifi", "token", "database", "ann")}  # type: ignore[misc]  # fmt: skip
    names = {"Iterator": Iterator, **vars(context), **vars(resources)}
    exec(recipe, names)  # the page is ours
    subject = context.Board(
        "pi", Settings(secrets=secrets), {}, release=lambda: context.Release("", "", 0)
    )
    plan = make(Planned("page", each) for each in names["recipe"](subject))
    wire = json.dumps(plan.wire())
    assert [entry.resource.kind for entry in plan.entries] == ["file", "file", "credential", "user"]
    assert "correct horse" not in wire
    with pytest.raises(UsageError, match=r"no secret 'wi-fi'.*wifi"):
        subject.secret("wi-fi")
