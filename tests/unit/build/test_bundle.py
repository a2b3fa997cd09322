"""What a bundle says of itself, and that its commands start from wherever it lies."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from toolkit.arch import Arch
from toolkit.build import bundle
from toolkit.build.commands import DAEMONS, LAUNCHED, add_commands
from toolkit.errors import UsageError
from toolkit.tree import Tree, extract


def _tree(content: str = "x") -> Tree:
    tree = Tree()
    tree.file("libexec/pause", content, 0o755)
    return tree


def test_the_manifest_has_every_file_with_its_mode_and_digest() -> None:
    manifest = bundle.describe(_tree(), Arch.ARMV6L, "3.11")
    assert manifest["files"] == {
        "libexec/pause": {
            "mode": "0755",
            "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
            "size": 1,
        }
    }
    assert set(manifest["versions"]) == {"pinnace"}  # the standard library is all it needs


def test_the_id_follows_the_contents_and_what_it_is_for() -> None:
    ids = {
        bundle.describe(_tree("x"), Arch.ARMV6L, "3.11")["id"],
        bundle.describe(_tree("y"), Arch.ARMV6L, "3.11")["id"],
        bundle.describe(_tree("x"), Arch.ARMV7L, "3.11")["id"],
        bundle.describe(_tree("x"), Arch.ARMV6L, "3.13")["id"],
    }
    assert len(ids) == 4
    assert bundle.describe(_tree("x"), Arch.ARMV6L, "3.11")["id"] in ids


def test_a_python_that_no_board_has() -> None:
    with pytest.raises(UsageError, match=r"3\.9"):
        bundle.build(Arch.AMD64, "3.9")


def test_commands_are_the_launcher() -> None:
    tree = Tree()
    add_commands(tree)
    assert {tree.target(f"bin/{name}") for name in LAUNCHED} == {"../libexec/launch"}


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_finds_its_release_through_a_link(name: str, tmp_path: Path) -> None:
    tree = Tree()
    add_commands(tree)
    tree.file("lib/pinnace/__init__.py", "")
    tree.file("lib/pinnace/cli/__init__.py", "")
    tree.file("lib/pinnace/cli/main.py", "def main(argv):\n    print(argv)\n    return 7\n")
    with tarfile.open(fileobj=BytesIO(tree.tar())) as archive:
        extract(archive, tmp_path / "release", "data")
    link = tmp_path / name
    os.symlink(tmp_path / "release/bin" / name, link)
    done = subprocess.run(
        [sys.executable, "-ISB", link, "run", "--rm"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (7, f"{[str(link), 'run', '--rm']}\n")
    assert not list(tmp_path.rglob("__pycache__"))


def test_caches_and_hidden_files_stay_out() -> None:
    paths = list(bundle.contents_of_runtime())
    assert "lib/pinnace/errors.py" in paths
    assert not [path for path in paths if "__pycache__" in path or "/." in path]
