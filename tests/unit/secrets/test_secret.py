"""A secret is shown by its name only, however it is shown; its value leaves through one door."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import HostFailed, PinnaceError, UsageError
from toolkit.plan.model import Planned, make
from toolkit.resources import (
    Content,
    Credential,
    File,
    Handler,
    Unit,
    User,
    render,
    secret_text,
    template,
)
from toolkit.secrets import mask
from toolkit.secrets.secret import Secret

VALUE = 'c4nary "quoted" & <b>\'s'


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(mask, "_known", set())
    monkeypatch.setattr(mask, "_pattern", None)


def secret(value: str = VALUE, name: str = "env:WIFI") -> Secret:
    return Secret(name, value.encode)


@pytest.mark.parametrize(
    "shown",
    [
        str, repr, "{}".format, "{:>30}".format, lambda s: f"{s!r}", lambda s: "%s" % s,  # noqa: UP031
        lambda s: json.dumps({"a": s}, default=str), lambda s: str([s, {"a": s}]),
        lambda s: repr(File(path="/x", source=s)), lambda s: repr(Content(s)),
        lambda s: str(asdict(Credential(unit="a.service", credential="b", source=s))),
        lambda s: repr(copy.deepcopy([s])), lambda s: repr(s.map(str.upper)),
    ],
)  # fmt: skip
def test_it_is_shown_as_its_name(shown: Callable[[Secret], str]) -> None:
    one = secret()
    one.reveal()
    text = shown(one)
    assert "c4nary" not in text.lower()


@pytest.mark.parametrize(
    "way", [lambda s: pickle.dumps(s), lambda s: json.dumps(s), lambda s: "psk=" + s]
)
def test_it_is_neither_written_down_nor_text(way: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        way(secret())


def test_nothing_is_read_before_it_is_revealed() -> None:
    def read() -> bytes:
        raise UsageError("read")

    one = Secret("env:A", read)
    File(path="/x", source=one)
    one.map(str.upper)
    with pytest.raises(UsageError, match="read"):
        one.reveal()


@pytest.mark.parametrize(
    "form",
    [
        VALUE, json.dumps(VALUE), repr(VALUE), "Zm9vYzRuYXJ5ICJxdW90ZWQi", 'c4nary%20%22quoted%22%20%26%20%3Cb%3E%27s',
        "c4nary &quot;quoted&quot; &amp; &lt;b&gt;&#x27;s", "c4nary \"quoted\" & <b>'\"'\"'s",
    ],
)  # fmt: skip
def test_it_is_masked_in_the_forms_that_programs_repeat_it_in(form: str) -> None:
    if form.startswith("Zm9v"):
        form = json.dumps({"x": __import__("base64").b64encode(VALUE.encode()).decode()})
    secret().reveal()
    assert mask.masked(f"before {form} after").count(mask.HIDDEN) >= 1
    assert "c4nary" not in mask.masked(form)
    assert "YzRuYXJ5" not in mask.masked(form)


def test_a_line_of_a_longer_one_is_masked_too() -> None:
    secret("-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n").reveal()
    assert mask.masked("bad line: MIIEvQIBADANBg") == f"bad line: {mask.HIDDEN}"


def test_errors_carry_none() -> None:
    secret().reveal()
    problem = HostFailed(f"psk {VALUE} is wrong", hint=VALUE)
    assert VALUE not in f"{problem} {problem!r} {problem.message} {problem.hint} {problem.args}"


def test_tracebacks_carry_none_in_any_thread(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    for name in ("excepthook", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    mask.in_tracebacks()
    secret().reveal()

    def fail() -> None:
        raise RuntimeError(f"bug {VALUE}")

    try:
        fail()
    except RuntimeError as problem:
        sys.excepthook(RuntimeError, problem, problem.__traceback__)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    said = capsys.readouterr().err
    assert said.count(f"RuntimeError: bug {mask.HIDDEN}") == 2
    assert "c4nary" not in said


@pytest.mark.parametrize(("value", "why"), [("abc", "shorter than"), ("\n\n\n\n\n", "shorter"), ("x" * (1 << 21), "larger")])  # fmt: skip
def test_what_cannot_be_kept_secret_is_refused(value: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as problem:
        secret(value).reveal()
    assert "env:WIFI" in problem.value.message


def test_bytes_that_are_not_text_are_not_shown_by_the_error() -> None:
    with pytest.raises(UsageError) as problem:
        Secret("age:key", lambda: b"\xff\xfecanary").text()
    assert "canary" not in repr(problem.value.__cause__) + str(problem.value)
    assert problem.value.__suppress_context__


# -- what is made of them ------------------------------------------------------------------------


def test_a_template_that_uses_one_becomes_a_secret_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # fmt: skip
    made = secret_text("psk={{ psk | toml }} id={{ id }}\n", psk=secret(), id=7)
    assert made.text() == f"psk={json.dumps(VALUE)} id=7\n"
    assert "c4nary" not in repr(made)
    file = File(path="/etc/wifi.conf", source=made)
    assert (file.mode, file.secret) == ("0600", True)
    login = {"username": "pi", "password": secret()}
    written = template(
        "/etc/x.toml", "registry-auth.toml.j2", config_version=3, registry_auth={"r:5000": login}
    )
    assert written.mode == "0600"
    assert json.dumps(VALUE) in written.contents[0].data.decode()


@pytest.mark.parametrize("text", ["{{ a ~ b }}", "{{ a | upper }}", "{{ '%s' | format(a) }}", "{{ a | length }}"])  # fmt: skip
def test_a_template_that_uses_one_as_text_is_refused(text: str) -> None:
    with pytest.raises((PinnaceError, TypeError)):
        secret_text(text, a=secret(), b="x")


def test_text_for_units_takes_none() -> None:
    with pytest.raises(UsageError, match="Credential"):
        render(
            "registry-auth.toml.j2", config_version=3, registry_auth={"r": {"password": secret()}}
        )


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda s: File(path="/x", source=s, mode="0644"), "everybody"),
        (lambda s: File(path="/x", source=s, mode="0604"), "everybody"),
        (lambda s: File(path="/x", source=s, mode="0640"), "lets a group"),
        (lambda s: File(path="/x", source=b"x", secret=True, mode="0644"), "everybody"),
        (lambda s: File(path="/x", source=f"psk={s}".encode()), "as if it were text"),
        (lambda s: Credential(unit="../a.service", credential="b", source=s), "not the name"),
        (lambda s: Credential(unit="a.service", credential="../b", source=s), "not a name"),
        (lambda s: Credential(unit="a.service", credential="b", source="plain"), "not a secret"),
        (lambda s: User(user="ann", password="$6$a$b"), "is a secret"),
        (lambda s: User(user="ann", password=s).wire(), "not the hash"),
    ],
)  # fmt: skip
def test_what_would_show_one_is_refused(declare: Callable[[Secret], object], why: str) -> None:
    with pytest.raises(UsageError, match=why) as problem:
        declare(secret())
    assert VALUE not in str(problem.value)


def test_what_is_declared_is_allowed() -> None:
    assert File(path="/x", source=secret(), mode="0640", group="web").mode == "0640"
    assert File(path="/x", source=secret(), mode="0644", exposed=True).mode == "0644"
    assert File(path="/x", source=b"x").mode == "0644"


# -- plans ---------------------------------------------------------------------------------------

LONG = "correct horse battery"


@pytest.mark.parametrize(
    "leak",
    [
        lambda s: Unit(unit="a.service", source=f"[Service]\nEnvironment=TOKEN={s.text()}\n"),
        lambda s: File(path="/y", source=s.text().encode()),
        lambda s: File(path="/y", source=b"", notify=(Handler.command("login", s.text()),)),
        lambda s: File(path=f"/srv/{s.text()}", source=b""),
    ],
)  # fmt: skip
def test_a_plan_in_which_a_value_stands_in_plain_is_refused(leak: Callable[[Secret], Any]) -> None:
    one = secret(LONG)
    with pytest.raises(
        UsageError, match=r"role web: .* would show the value of secret env:WIFI"
    ) as problem:
        make([Planned("web", File(path="/x", source=one)), Planned("web", leak(one))])
    assert LONG not in str(problem.value)


def test_a_plan_has_no_value_and_no_digest_that_a_guess_could_be_tried_on() -> None:
    import hashlib

    plan = make([
        Planned("web", File(path="/x", source=secret(LONG))),
        Planned("web", Credential(unit="a.service", credential="t", source=secret(LONG))),
    ])  # fmt: skip
    text = json.dumps(plan.wire()) + plan.id
    assert LONG not in text
    for digest in (hashlib.sha256, hashlib.sha1, hashlib.md5):
        assert digest(LONG.encode()).hexdigest() not in text
    assert hashlib.blake2b(LONG.encode(), digest_size=32).hexdigest() not in text
    assert plan.hidden == [LONG]
    again = make([Planned("web", File(path="/x", source=secret(LONG)))])
    assert again.wire()["resources"][0]["digest"] == plan.wire()["resources"][0]["digest"]


def test_the_key_of_digests_is_this_machines_own_and_its_owners_alone(tmp_path: Path) -> None:
    File(path="/x", source=secret(LONG)).wire()
    [key] = (tmp_path / "state").rglob("secrets/key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
