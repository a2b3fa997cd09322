"""The lab's images hold working programs: each is unpacked and run, the foreign ones emulated."""

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from toolkit import debian_program, oci
from toolkit.arch import Arch
from toolkit.lab import images
from toolkit.lab.recipes import RECIPES
from toolkit.tree import extract

pytestmark = [pytest.mark.peer, pytest.mark.root]

_HERE = Arch.from_machine(os.uname().machine)
_FOREIGN = [arch for arch in Arch if arch is not _HERE and arch.facts.qemu]


@pytest.fixture(scope="module")
def make() -> Callable[[str, Arch], oci.Image]:
    made: dict[tuple[str, Arch], oci.Image] = {}

    def one(name: str, arch: Arch) -> oci.Image:
        if (name, arch) not in made:
            [recipe] = [recipe for recipe in RECIPES if recipe.repository == f"library/{name}"]
            made[name, arch] = images.make(recipe, arch)
        return made[name, arch]

    return one


def _unpack(image: oci.Image, root: Path) -> dict[str, object]:
    """Lay the layers over each other; returns the image's execution parameters."""
    root.mkdir(mode=0o755)
    for layer in image.blobs[1:]:
        with tarfile.open(fileobj=BytesIO(layer.data)) as archive:
            extract(archive, root, "fully_trusted")
    config: dict[str, object] = json.loads(image.blobs[0].data)["config"]
    return config


def _run(root: Path, *words: str, emulator: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        ["chroot", str(root), *emulator, *words],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _emulator(root: Path, arch: Arch) -> tuple[str, ...]:
    """Put the emulator, a static program, into the root; returns the words that start it there."""
    name = f"qemu-{arch.facts.qemu}"
    [program] = debian_program.command("trixie", "qemu-user", f"usr/bin/{name}")
    shutil.copy(program, root / name)
    return (f"/{name}", "-cpu", arch.facts.qemu_cpu)


def test_busybox_has_its_applets(make: Callable[[str, Arch], oci.Image], tmp_path: Path) -> None:
    _unpack(make("busybox", _HERE), tmp_path / "root")
    assert _run(tmp_path / "root", "sh", "-c", "echo $(id -u) && env | wc -l").startswith("0\n")
    assert _run(tmp_path / "root", "uname", "-m") == f"{os.uname().machine}\n"


def test_debian_has_a_shell_and_the_usual_tools(
    make: Callable[[str, Arch], oci.Image], tmp_path: Path
) -> None:
    _unpack(make("debian", _HERE), tmp_path / "root")
    script = ". /etc/os-release; echo $ID $VERSION_ID; echo a b | awk '{print $2}'; ls -ld /bin; id -un www-data"
    lines = _run(tmp_path / "root", "bash", "-c", script).splitlines()
    assert lines[:2] == ["debian 12", "b"]
    assert lines[2].endswith("/bin -> usr/bin")
    assert lines[3] == "www-data"


def test_every_program_has_its_libraries(
    make: Callable[[str, Arch], oci.Image], tmp_path: Path
) -> None:
    _unpack(make("nginx", _HERE), tmp_path / "root")
    script = "for program in /usr/bin/* /usr/sbin/*; do ldd $program 2>&1 | sed s,^,$program,; done"
    listed = _run(tmp_path / "root", "bash", "-c", script)
    assert "libc.so.6 => /" in listed
    assert [line for line in listed.splitlines() if "not found" in line] == []


@pytest.mark.parametrize("arch", _FOREIGN, ids=lambda arch: arch.label)
def test_foreign_images_run_on_the_processor_they_are_for(
    arch: Arch, make: Callable[[str, Arch], oci.Image], tmp_path: Path
) -> None:
    _unpack(make("busybox", arch), tmp_path / "busybox")
    emulator = _emulator(tmp_path / "busybox", arch)
    shown = _run(tmp_path / "busybox", "/bin/uname", "-m", emulator=emulator)
    assert shown == f"{arch.facts.machine}\n"
    _unpack(make("nginx", arch), tmp_path / "nginx")
    emulator = _emulator(tmp_path / "nginx", arch)
    (tmp_path / "nginx/dev").mkdir(exist_ok=True)
    _run(tmp_path / "nginx", "/usr/sbin/nginx", "-v", emulator=emulator)


def test_nginx_serves_its_page(make: Callable[[str, Arch], oci.Image], tmp_path: Path) -> None:
    config = _unpack(make("nginx", _HERE), tmp_path / "root")
    command = config["Cmd"]
    assert isinstance(command, list)
    # Its own network, so that port 80 is free and nobody else sees it; logs go to a file.
    for stream in ("stdout", "stderr"):
        (tmp_path / "root/dev").mkdir(exist_ok=True)
        (tmp_path / "root/dev" / stream).touch()
    (tmp_path / "root/dev/null").touch()
    script = 'ip link set lo up; exec chroot "$0" "$@"'
    server = subprocess.Popen(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, str(tmp_path / "root"), *command]
    )  # fmt: skip
    try:
        page = _fetch(server.pid)
    finally:
        server.kill()
        server.wait()
    assert "Welcome to nginx!" in page
    assert "GET / HTTP" in (tmp_path / "root/dev/stdout").read_text()


def _fetch(holder: int) -> str:
    """The page, fetched inside the server's network namespace by the server's own machine tools."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/', timeout=5).read().decode())"
    deadline = time.monotonic() + 10
    while True:
        done = subprocess.run(
            ["nsenter", f"--target={holder}", "--net", "python3", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
