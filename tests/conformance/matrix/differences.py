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
        r"images (pull|push) .*(127.0.0.1:1|registry\}.*nope).*", "cannot reach 127.0.0.1:1|connection refused$|err: .*(nope|not found)",
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
        "(images pull|content fetch) .*", "active check failed", "as above: what asks how far it is, is cancelled",
    ),
    Difference(
        "tasks rm t1", "task t1 not found",
        "containerd 2.1 leaves the class out of this one message",
    ),
    Difference(
        "sandboxes rm nope", 'bucket .*nope|no sandbox buckets|err: .*sandbox "?nope', "containerd names its database's parts",
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


OF_OUR_CTR: tuple[Difference, ...] = (
    Difference(
        r"\w+ rm|namespaces label boats|sandboxes rm nope", "status|err|out:",
        "a command line that names nothing, or what is not there, is an error here",
    ),
    Difference("namespaces (label nope a=b|ls.*)", "nope|status|err", "see KNOWN"),
    Difference("content active.*", "k3 |k2 |REF|status|err", "see KNOWN; a regular expression is no error here"),
    Difference(
        "images tag .* registry.lab/other:1", "status|err|other",
        "2.1 replaces an image without --force; 1.7 and we do not",
    ),
    Difference(
        "content push-object .*image.config.*", "status|err|Pushed",
        "what the registry has already is no error here: a push may be repeated",
    ),
    Difference("tasks metrics t1", "out: tN ", "a time is shown as everywhere"),
    Difference("images prune --all", "deleted image", "containerd's ctr says it in its log"),
    Difference("images mount .*nope", "chain", "here the directory is looked for before anything is made"),
    Difference("snapshots tree", "s2|v1|v2", "roots are sorted here"),
    Difference("containers restore .*|containers (ls|rm r1 r2)", "status|err|r1|r2", "here it works without criu's part"),
    Difference("containers info .*|oci spec", "out: ", "the specification's members are in another order, of version 1.2.0"),
    Difference("version|info", "out: ", "who is who"),
    Difference("deprecations list --format json", r"\[\]", "an empty list is printed as one"),
    Difference(
        "sandboxes info nope|images build-erofs-cache .*", "status", "no series in Debian has this command yet",
    ),
    Difference("nonsense", "status", "an unknown command exits as other errors do, with 1, and says what is near"),
    Difference("plugins .*", "out: ", "each daemon is made of other parts"),
)  # fmt: skip
"""The same for our ctr with our daemon, beside containerd's with containerd 2.1."""
