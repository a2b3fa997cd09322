"""What is known to differ between Debian's containerd and ours, and why it may."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Explains lines that only one side shows.

    Attributes:
        rows: a pattern that the row's words match.
        line: a pattern that the line matches; a line is ``out:``, ``err:`` or ``status:`` and its text.
        reason: why that is right, or how it cannot be otherwise.
    """

    rows: str
    line: str
    reason: str

    def explains(self, words: str, line: str) -> bool:
        return bool(re.fullmatch(self.rows, words) and re.search(self.line, line))


KNOWN: tuple[Difference, ...] = (
    Difference(
        "namespaces (label nope a=b|ls.*)", r"nope|status: ",
        "containerd makes a namespace of one that is labelled and does not exist; here that is an error",
    ),
    Difference(
        "content active.*", r"k3 ",
        "content of a wrong digest is thrown away here: resuming behind it could never succeed",
    ),
    Difference(
        "snapshots view v3 s1", "is not committed snapshot",
        "containerd names the snapshot as its database does",
    ),
    Difference(
        "snapshots --snapshotter nope ls", "snapshotter not loaded: nope",
        "here it is said which there are",
    ),
    Difference(
        "images (pull|push) .*127.0.0.1:1.*", "cannot reach 127.0.0.1:1|connection refused$",
        "registries are asked by our own client, which has words of its own",
    ),
    Difference(
        "(run|tasks exec) .*nosuch", 'err: ctr: .*exec: "nosuch": executable file not found',
        "containerd tells every layer that the error went through",
    ),
    Difference(
        "images import .*", "progress stream failed to recv",
        "a race of ctr with itself: it cancels the stream that it reads",
    ),
    Difference(
        "images (ls -q|prune --all)", "registry.lab/index:1",
        "--index-name: here an archive's own index does not become an image",
    ),
    Difference(
        "tasks rm t1", "task t1 not found",
        "containerd 2.1 leaves the class out of this one message",
    ),
    Difference(
        "sandboxes rm nope", 'bucket .*nope|no sandbox buckets', "containerd names its database's parts",
    ),
    Difference(
        "sandboxes run .* s1", "err: ctr: failed to start: ", "1.7 names no controller, which we are told of",
    ),
    Difference("version", "Version: |Revision:|mismatch", "who is who"),
    Difference(
        "plugins ls", "out: io.containerd.", "each daemon is made of other parts, and sorts them otherwise",
    ),
    Difference(
        "plugins ls bad==|events nope==", "filters: parse error|err: invalid argument",
        "containerd says the class in front as well; events have it as an unknown error there",
    ),
    Difference(
        "plugins inspect-runtime", "out: ", "runc's features are not ours",
    ),
)  # fmt: skip
