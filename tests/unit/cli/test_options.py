"""Command lines as urfave/cli reads them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import pytest

from pinnace.cli import options
from pinnace.cli.options import Call, Command, duration, integer, number, switch, text, texts
from pinnace.errors import InvalidArgument

SEEN: list[Call] = []


@pytest.fixture(autouse=True)
def leaf() -> Iterator[None]:
    module = types.ModuleType("leaf_of_test_options")
    module.USAGE = "[flags] IMAGE ID [COMMAND]"  # type: ignore[attr-defined]
    module.DETAILS = "More about it."  # type: ignore[attr-defined]
    module.FLAGS = (  # type: ignore[attr-defined]
        switch("detach", "d", about="go on"),
        switch("tty", "t", about="a terminal"),
        texts("env", about="variables"),
        text("cwd", about="where"),
        integer("memory", about="bytes", default=7),
        number("cpus", about="processors"),
        duration("wait", about="time"),
        text("snapshotter", about="which", env="TEST_SNAPSHOTTER", default="overlayfs"),
    )

    def run(call: Call) -> int:
        SEEN.append(call)
        return 5

    module.run = run  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    SEEN.clear()
    yield
    del sys.modules[module.__name__]


APP = Command(
    "ctr",
    "the program",
    version="1.2",
    flags=(
        text("namespace", "n", about="space", default="default"),
        switch("version", "v", about="v"),
    ),
    commands=(
        Command("run", "run one", module="leaf_of_test_options"),
        Command(
            "images",
            "images",
            aliases=("image", "i"),
            commands=(
                Command("list", "list them", aliases=("ls",), module="leaf_of_test_options"),
            ),
        ),
    ),
)


def parsed(*words: str) -> Call:
    assert options.run(APP, words) == 5
    return SEEN[-1]


def test_flags_before_arguments() -> None:
    call = parsed("run", "-d", "img", "id", "ls", "-l", "--env", "x")
    assert call.on("detach")
    assert call.args == ["img", "id", "ls", "-l", "--env", "x"]
    assert call.texts("env") == []


@pytest.mark.parametrize(
    "words", [("--cwd", "/x"), ("--cwd=/x",), ("-cwd", "/x"), ("-cwd=/x",), ("--cwd=/x", "--")]
)
def test_values_in_every_spelling(words: tuple[str, ...]) -> None:
    call = parsed("run", *words, "img")
    assert call.text("cwd") == "/x"
    assert call.args == ["img"]


def test_a_value_may_look_like_a_flag_or_hold_an_equals_sign() -> None:
    call = parsed("run", "--cwd", "-d", "--env=A=b=c", "img")
    assert (call.text("cwd"), call.texts("env"), call.on("detach")) == ("-d", ["A=b=c"], False)


def test_lists_add_up_and_are_not_split() -> None:
    assert parsed("run", "--env", "A=1,2", "--env", "B=", "i").texts("env") == ["A=1,2", "B="]


def test_switches_take_a_value_only_behind_an_equals_sign() -> None:
    assert not parsed("run", "--detach=false", "i").on("detach")
    assert parsed("run", "--detach", "false").args == ["false"]


def test_short_switches_may_be_joined() -> None:
    call = parsed("run", "-dt", "i")
    assert call.on("detach")
    assert call.on("tty")


def test_numbers_and_times() -> None:
    call = parsed("run", "--memory", "0x10", "--cpus", "1.5", "--wait", "1m30.5s", "i")
    assert (call.integer("memory"), call.number("cpus"), call.seconds("wait")) == (16, 1.5, 90.5)


def test_defaults_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed("run", "i").integer("memory") == 7
    monkeypatch.setenv("TEST_SNAPSHOTTER", "native")
    assert parsed("run", "i").text("snapshotter") == "native"
    assert not SEEN[-1].given("snapshotter")
    assert parsed("run", "--snapshotter", "x", "i").text("snapshotter") == "x"


def test_flags_of_the_commands_above_are_seen() -> None:
    call = parsed("-n", "k8s.io", "i", "ls", "-d")
    assert call.text("namespace") == "k8s.io"
    assert call.path == "ctr images list"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--nope"], "flag provided but not defined: --nope"),
        (["run", "-x"], "flag provided but not defined: -x"),
        (["run", "--cwd"], "flag needs an argument: --cwd"),
        (["run", "--memory", "much"], 'invalid value "much" for flag --memory'),
        (["run", "--wait", "5"], "a duration such as 1m30s is expected"),
        (["imags"], "did you mean images?"),
        (["images", "frobnicate"], 'unknown command "frobnicate" for "ctr images"'),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options.run(APP, words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_argument_shows_the_usage() -> None:
    call = parsed("run")
    with pytest.raises(InvalidArgument) as caught:
        call.argument(0, "image ref must be provided")
    assert str(caught.value) == (
        "image ref must be provided (usage: ctr run [flags] IMAGE ID [COMMAND])"
    )


@pytest.mark.parametrize(
    "words", [["run", "--help"], ["run", "-h"], ["help", "run"], ["run", "-d", "-h", "x"]]
)
def test_help_of_a_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert options.run(APP, words) == 0
    shown = capsys.readouterr().out
    assert "ctr run - run one" in shown
    assert "ctr run [command options] [flags] IMAGE ID [COMMAND]" in shown
    assert "--detach, -d" in shown
    assert '(default: "overlayfs") [$TEST_SNAPSHOTTER]' in shown
    assert "More about it." in shown


@pytest.mark.parametrize("words", [["i"], ["images", "--help"], ["help", "i"]])
def test_a_group_alone_shows_its_commands(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert options.run(APP, words) == 0
    assert "list, ls" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.run(APP, ["--version"]) == 0
    assert capsys.readouterr().out == "ctr 1.2\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["run", "images", "image", "i"]),
        (["i"], ["list", "ls"]),
        (["run", "--en"], ["--env"]),
        (["nope"], []),
        (["run", "image"], []),
    ],
)
def test_completion(
    words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert options.run(APP, [*words, options.COMPLETE]) == 0
    assert capsys.readouterr().out.split() == expected


def test_asking_for_a_flag_that_is_not_declared_is_a_bug() -> None:
    with pytest.raises(KeyError):
        parsed("run", "i").text("nonsense")
    with pytest.raises(KeyError):
        parsed("run", "i").text("detach")
