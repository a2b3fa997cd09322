"""Starting the program: arguments, environment, directory, limits, scheduling, terminal, exit status."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.table import Row


def _limit(kind: str, soft: int, hard: int) -> list[dict[str, Any]]:
    return [{"type": f"RLIMIT_{kind}", "soft": soft, "hard": hard}]


def _args(name: str, *words: str) -> Row:
    return Row(f"args-{name}", {"process.args": list(words)})


ROWS = [
    Row("default", {}),
    Row("exit-status", {}, ask=("exit:42",)),
    _args("found-on-path", "probe"),
    _args("not-found", "nosuch"),
    _args("not-found-by-path", "/bin/nosuch"),
    _args("a-directory", "/etc"),
    _args("not-executable", "/data/below"),
    _args("empty"),
    _args("empty-word", ""),
    _args("relative", "bin/probe"),
    Row("env-empty", {"process.env": []}),
    Row("env-none", {"process.env": None}),
    Row("env-home-is-kept", {"process.env": ["PATH=/bin", "HOME=/elsewhere"]}),
    Row("env-empty-home", {"process.env": ["PATH=/bin", "HOME="]}),
    Row("env-twice", {"process.env": ["PATH=/bin", "A=1", "B=2", "A=3"]}),
    Row("env-empty-value", {"process.env": ["PATH=/bin", "A="]}),
    Row("env-without-value", {"process.env": ["PATH=/bin", "A"]}),
    Row("env-home-of-user", {"process.user": {"uid": 1000, "gid": 1000}}),
    Row("env-home-of-unknown-user", {"process.user": {"uid": 4711, "gid": 4711}}),
    Row("cwd", {"process.cwd": "/data"}),
    Row("cwd-made", {"process.cwd": "/deep/inside"}, ask=("stat:/deep", "stat:/deep/inside")),
    Row("cwd-relative", {"process.cwd": "data"}),
    Row("cwd-empty", {"process.cwd": ""}),
    Row("cwd-a-file", {"process.cwd": "/data/below"}),
    Row("cwd-in-a-mount", {"process.cwd": "/dev/shm/made"}, ask=("stat:/dev/shm/made",)),
    Row("limits-none", {"process.rlimits": None}),
    Row("limits-files", {"process.rlimits": _limit("NOFILE", 77, 99)}),
    Row("limits-core", {"process.rlimits": _limit("CORE", 0, 0)}),
    Row("limits-cpu", {"process.rlimits": _limit("CPU", 100, 200)}),
    Row("limits-memory", {"process.rlimits": _limit("AS", 1 << 30, 1 << 31)}),
    Row("limits-stack", {"process.rlimits": _limit("STACK", 1 << 20, 1 << 24)}),
    Row("limits-processes", {"process.rlimits": _limit("NPROC", 500, 600)}),
    Row("limits-rtprio", {"process.rlimits": _limit("RTPRIO", 0, 0)}),
    Row("limits-raised", {"process.rlimits": _limit("NOFILE", 1 << 21, 1 << 21)}),
    Row("limits-unknown", {"process.rlimits": _limit("NOSUCH", 1, 1)}),
    Row("limits-soft-above-hard", {"process.rlimits": _limit("NOFILE", 99, 77)}),
    Row("limits-twice", {"process.rlimits": _limit("NOFILE", 7, 9) + _limit("NOFILE", 77, 99)}),
    Row("oom-score", {"process.oomScoreAdj": 500}),
    Row("oom-score-highest", {"process.oomScoreAdj": 1000}),
    Row("oom-score-too-high", {"process.oomScoreAdj": 1001}),
    Row("oom-score-lowered", {"process.oomScoreAdj": -500}),
    Row("scheduler-batch", {"process.scheduler": {"policy": "SCHED_BATCH", "nice": 5}}),
    Row("scheduler-idle", {"process.scheduler": {"policy": "SCHED_IDLE"}}),
    Row("scheduler-other", {"process.scheduler": {"policy": "SCHED_OTHER", "nice": 10}}),
    Row("scheduler-fifo", {"process.scheduler": {"policy": "SCHED_FIFO", "priority": 10}}),
    Row(
        "scheduler-round-robin-reset",
        {
            "process.scheduler": {
                "policy": "SCHED_RR",
                "priority": 5,
                "flags": ["SCHED_FLAG_RESET_ON_FORK"],
            }
        },
    ),
    Row("scheduler-unknown", {"process.scheduler": {"policy": "SCHED_NOSUCH"}}),
    Row(
        "scheduler-unknown-flag",
        {"process.scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOSUCH"]}},
    ),
    Row("io-priority", {"process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3}}),
    Row("io-priority-idle", {"process.ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}}),
    Row("io-priority-unknown", {"process.ioPriority": {"class": "IOPRIO_CLASS_NO", "priority": 0}}),
    Row("personality-32-bit", {"linux.personality": {"domain": "LINUX32"}}),
    Row("personality-64-bit", {"linux.personality": {"domain": "LINUX"}}),
    Row("personality-unknown", {"linux.personality": {"domain": "SOLARIS"}}),
    Row("terminal", {"process.terminal": True}, terminal=True),
    Row(
        "terminal-size",
        {"process.terminal": True, "process.consoleSize": {"width": 91, "height": 33}},
        terminal=True,
    ),
    Row(
        "terminal-of-a-user",
        {"process.terminal": True, "process.user": {"uid": 1000, "gid": 1000}},
        terminal=True,
    ),
    Row("terminal-is-missing", {"process.terminal": True}),
    Row("process-missing", {"process": None}),
    Row("exec-plain", {}, process={}),
    Row("exec-other-user", {}, process={"user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}}),
    Row("exec-other-directory", {}, process={"cwd": "/data"}),
    Row("exec-missing-directory", {}, process={"cwd": "/nosuch"}),
    Row("exec-environment", {}, process={"env": ["PATH=/bin", "X=1"]}),
    Row("exec-limits", {}, process={"rlimits": _limit("NOFILE", 50, 60)}),
    Row("exec-without-capabilities", {}, process={"capabilities": {}}),
    Row("exec-without-capabilities-object", {}, process={"capabilities": None}),
    Row("exec-can-gain-privileges", {}, process={"noNewPrivileges": False}),
    Row("exec-oom-score", {}, process={"oomScoreAdj": 300}),
    Row("exec-terminal", {}, process={"terminal": True}, terminal=True),
    Row("exec-not-found", {}, process={"args": ["nosuch"]}),
    Row("exec-exit-status", {}, process={}, ask=("exit:7",)),
    Row("exec-scheduler", {}, process={"scheduler": {"policy": "SCHED_BATCH", "nice": 3}}),
    Row(
        "exec-io-priority", {}, process={"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}
    ),
]
