"""The private apt: its output is read right, its sources are Debian's, its cache heals."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolkit import debian
from toolkit.errors import PinnaceError

DOWNLOAD = (
    "'http://deb.debian.org/debian/pool/main/b/busybox/busybox_1.35.0-4%2bb1_armel.deb' "
    "busybox_1%3a1.35.0-4+b1_armel.deb 447052 SHA256:1bf33a17\n"
)


def test_a_printed_uri_becomes_a_package_file() -> None:
    [deb] = debian.parse_uris("Reading package lists...\n" + DOWNLOAD)
    assert (deb.package, deb.version, deb.arch) == ("busybox", "1:1.35.0-4+b1", "armel")
    assert (deb.size, deb.sha256) == (447052, "1bf33a17")
    assert deb.selector == "busybox:armel=1:1.35.0-4+b1"


def test_an_md5_sum_is_not_taken_for_a_checksum() -> None:
    [deb] = debian.parse_uris(DOWNLOAD.replace("SHA256", "MD5Sum"))
    assert deb.sha256 == ""


def test_an_archive_without_md5_sums_counts_too() -> None:
    [deb] = debian.parse_uris(DOWNLOAD.rpartition(" ")[0])
    assert (deb.package, deb.sha256) == ("busybox", "")


@pytest.mark.parametrize(
    ("targets", "mirror", "security"),
    [
        ("", debian.MIRROR, debian.SECURITY_MIRROR),
        (
            "http://ftp.example.org/pub/debian/ bookworm main\n"
            "http://sec.example.org/debian-security bookworm-security main\n",
            "http://ftp.example.org/pub/debian",
            "http://sec.example.org/debian-security",
        ),
        (
            "http://archive.ubuntu.com/ubuntu/ noble main\n"
            "https://download.docker.com/linux/debian bookworm stable\n",
            debian.MIRROR,
            debian.SECURITY_MIRROR,
        ),
    ],
)
def test_mirrors_of_the_machine(targets: str, mirror: str, security: str) -> None:
    assert debian.mirrors_in(targets) == debian.Sources(mirror, security)


def test_every_source_is_signed_by_debians_keyring() -> None:
    lines = debian.Sources().lines("trixie")
    assert all(f"[signed-by={debian.KEYRING}]" in line for line in lines)
    assert [line.split()[3] for line in lines] == ["trixie", "trixie-security"]


def test_apts_first_error_is_the_message() -> None:
    stderr = "W: some warning\nE: Unable to locate package nginxxx\nE: more\n"
    assert debian.apt_error(stderr) == "Unable to locate package nginxxx"


def fill(tree: Path) -> None:
    (tree / "bin").mkdir()
    (tree / "bin" / "tool").write_text("content")


def unexpected(tree: Path) -> None:
    raise AssertionError(f"{tree} was to be used as it is")


def test_a_tree_is_made_once(tmp_path: Path) -> None:
    tree = debian.kept_tree(tmp_path / "entry", fill)
    assert (tree / "bin" / "tool").read_text() == "content"
    assert debian.kept_tree(tmp_path / "entry", unexpected) == tree


@pytest.mark.parametrize("damage", ["truncate", "remove", "add", "no-mark"])
def test_a_damaged_tree_is_made_again(tmp_path: Path, damage: str) -> None:
    tool = debian.kept_tree(tmp_path / "entry", fill) / "bin" / "tool"
    if damage == "truncate":
        tool.write_text("")
    elif damage == "remove":
        tool.unlink()
    elif damage == "add":
        tool.with_name("extra").touch()
    else:
        (tmp_path / "entry" / "made").unlink()
    tree = debian.kept_tree(tmp_path / "entry", fill)
    assert [path.name for path in (tree / "bin").iterdir()] == ["tool"]
    assert (tree / "bin" / "tool").read_text() == "content"


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "entry.part-x" / "files").mkdir(parents=True)
    debian.kept_tree(tmp_path / "entry", fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "entry.lock"]


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    def fail(tree: Path) -> None:
        (tree / "half").touch()
        raise PinnaceError("no space left")

    with pytest.raises(PinnaceError):
        debian.kept_tree(tmp_path / "entry", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["entry.lock"]


def test_a_lock_whose_file_was_removed_keeps_others_out(tmp_path: Path) -> None:
    """Who waited for the removed file must not go on beside who made it anew."""
    path, inside, most = tmp_path / "lock", [0], [0]

    def hold(number: int) -> None:
        with debian.locked(path):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            inside[0] -= 1
            path.unlink()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, range(80)))
    assert most == [1]
    assert not path.exists()
