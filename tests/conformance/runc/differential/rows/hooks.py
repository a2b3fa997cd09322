"""Hooks: what each kind is told, where it runs, and what a failure does."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.bundle import Bundle
from tests.conformance.runc.differential.table import Row

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def _tells(*kinds: str, **more: Any) -> Row:
    """A hook of each kind that writes down its state, directory, environment and namespaces."""

    def change(bundle: Bundle) -> None:
        bundle.spec["hooks"] = {kind: [bundle.hook(kind, **more)] for kind in kinds}

    name = kinds[0] if len(kinds) == 1 else "all"
    return Row(f"hook-{name}", {}, change=change)


def _script(name: str, kind: str, script: str, timeout: int = 0, more: str = "") -> Row:
    def change(bundle: Bundle) -> None:
        hooks = [bundle.hook(kind, script, timeout)]
        if more:
            hooks.append(bundle.hook(kind, more))
        bundle.spec["hooks"] = {kind: hooks}

    return Row(f"hook-{name}", {}, change=change)


def _raw(name: str, hooks: dict[str, Any]) -> Row:
    return Row(f"hook-{name}", {"hooks": hooks})


ROWS = [
    *(_tells(kind) for kind in KINDS),
    _tells(*KINDS),
    *(_script(f"fails-{kind}", kind, "exit 3") for kind in KINDS),
    _script("second-not-run", "createRuntime", "exit 3", more="echo second >> $LOG"),
    _script("second-after-poststart", "poststart", "exit 3", more="echo second >> $LOG"),
    _script("second-after-poststop", "poststop", "exit 3", more="echo second >> $LOG"),
    _script("in-time", "createRuntime", "sleep 0.1; echo done >> $LOG", timeout=5),
    _script("too-slow", "createRuntime", "sleep 5; echo done >> $LOG", timeout=1),
    _script("does-not-read", "createRuntime", "exec <&-; true"),
    _raw("missing-program", {"createRuntime": [{"path": "/nosuch"}]}),
    _raw("relative-program", {"createRuntime": [{"path": "bin/true"}]}),
    _raw("no-path", {"createRuntime": [{}]}),
    _raw("empty-lists", {kind: [] for kind in KINDS}),
    _raw("timeout-zero", {"createRuntime": [{"path": "/bin/true", "timeout": 0}]}),
    _raw("timeout-negative", {"createRuntime": [{"path": "/bin/true", "timeout": -1}]}),
]
