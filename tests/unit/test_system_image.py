"""The parts of a full-system board's image, each without building one."""

import gzip
import io
import lzma
import re
import tarfile
from pathlib import Path

import pytest

from toolkit.boards.system import accounts, initrd, model, tools
from toolkit.boards.system.rootfs import Tree, enabled
from toolkit.errors import MissingPrerequisite, PinnaceError

# -- accounts --------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "usr/share/base-passwd").mkdir(parents=True)
    (tmp_path / "usr/lib/sysusers.d").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    groups = "root:*:0:\nadm:*:4:\nsudo:*:27:\nshadow:*:42:\nusers:*:100:\nnogroup:*:65534:\n"
    (tmp_path / "usr/share/base-passwd/group.master").write_text(groups)
    (tmp_path / "usr/share/base-passwd/passwd.master").write_text(
        "root:*:0:0:root:/root:/bin/bash\n"
    )
    return tmp_path


def test_packages_declare_their_accounts(root: Path) -> None:
    (root / "usr/lib/sysusers.d/dbus.conf").write_text(
        '# comment\nu messagebus - "System Message Bus" /nonexistent\ng adm 4 -\n'
    )
    (root / "usr/lib/sysusers.d/sshd.conf").write_text('u sshd -:nogroup "sshd user" /run/sshd\n')
    found = accounts.collect(root)
    assert found.users["messagebus"][4:] == [
        "System Message Bus",
        "/nonexistent",
        "/usr/sbin/nologin",
    ]
    assert found.uid("messagebus") == found.gid("messagebus") == 999
    assert found.users["sshd"][3] == "65534"
    assert "sshd" not in found.groups


def test_the_user_pi_may_use_sudo_and_has_no_password(root: Path) -> None:
    accounts.collect(root).write(root / "etc", days=20000)
    assert "pi:x:1000:1000::/home/pi:/bin/bash" in (root / "etc/passwd").read_text().splitlines()
    assert "sudo:x:27:pi" in (root / "etc/group").read_text().splitlines()
    assert "pi:*:20000:0:99999:7:::" in (root / "etc/shadow").read_text().splitlines()
    assert (root / "etc/shadow").stat().st_mode & 0o777 == 0o640


# -- the tree --------------------------------------------------------------------------------------


def test_the_archive_says_who_shall_own_what(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.write("etc/shadow", "secret\n", 0o640)
    tree.own("etc/shadow", 0, 42)
    tree.write("usr/bin/sudo", "x", 0o4755)
    tree.link("bin", "usr/bin")
    stream = io.BytesIO()
    tree.write_tar(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        found = {info.name: (info.uid, info.gid, info.mode, info.linkname) for info in archive}
    assert found["etc/shadow"] == (0, 42, 0o640, "")
    assert found["usr/bin/sudo"] == (0, 0, 0o4755, "")
    assert found["bin"][3] == "usr/bin"


def test_a_unit_is_enabled_by_its_install_section(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    unit = "[Unit]\nWants=x\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n"
    tree.write("usr/lib/systemd/system/ssh.service", unit)
    enabled(tree, ["ssh.service"])
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/ssh.service"
    assert str(link.readlink()) == "/usr/lib/systemd/system/ssh.service"
    assert (tmp_path / "etc/systemd/system/sshd.service").is_symlink()


# -- the initial RAM disk --------------------------------------------------------------------------


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "modules.dep").write_text(
        "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n"
        "kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\nkernel/drivers/virtio-blk.ko.xz:\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio_mmio.ko\n")
    for line in (tmp_path / "modules.dep").read_text().splitlines():
        path = tmp_path / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(path.name.encode()))
    return tmp_path


def test_modules_come_after_what_they_need(modules: Path) -> None:
    found = initrd.load_order(modules, ["virtio_mmio", "virtio_blk", "ext4"])
    assert [path.name for path in found] == ["virtio-blk.ko.xz", "crc16.ko.xz", "jbd2.ko.xz", "ext4.ko.xz"]  # fmt: skip


def test_a_module_that_the_kernel_lacks_is_named(modules: Path) -> None:
    with pytest.raises(PinnaceError, match="no module btrfs"):
        initrd.load_order(modules, ["btrfs"])


def test_the_ram_disk_holds_modules_unpacked(modules: Path, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"BUSYBOX")
    initrd.build(tmp_path / "initrd", tmp_path / "busybox", modules, ["ext4"])
    content = gzip.decompress((tmp_path / "initrd").read_bytes())
    assert b"lib/ext4.ko\0" in content
    assert b"BUSYBOX" in content
    assert b"crc16.ko\njbd2.ko\next4.ko\n" in content
    assert content.rstrip(b"\0").endswith(b"TRAILER!!!")


# -- models and programs ---------------------------------------------------------------------------


def test_a_model_names_its_own_root_device() -> None:
    found = model.models()["arm64"]
    assert "root=/dev/vda2" in found.command_line.split()
    assert found.boot_device == "/dev/vda1"


_MAPPED, _VMALLOC = 768 << 20, 240 << 20
"""How much memory 32-bit ARM maps at most, with the vmalloc area that it has by itself (arch/arm/mm/mmu.c)."""


@pytest.mark.parametrize(
    "found", [each for each in model.models().values() if each.kernel == "linux-image-armmp"]
)
def test_32_bit_kernels_have_memory_outside_of_their_map(found: model.Model) -> None:
    # What has no address there goes with one instruction, and not with one for each page of the map.
    asked = re.search(r"vmalloc=(\d+)M", found.command_line)
    mapped = _MAPPED + _VMALLOC - ((int(asked[1]) << 20) if asked else _VMALLOC)
    assert (found.memory << 20) - mapped >= 128 << 20


def test_a_qemu_that_is_too_old_is_refused_in_one_line() -> None:
    tools.check_version("qemu-system-arm", "QEMU emulator version 10.0.8 (Debian 1:10.0.8)")
    with pytest.raises(
        MissingPrerequisite, match=r"is QEMU 7\.2, and full-system boards need 9\.0"
    ):
        tools.check_version("qemu-system-arm", "QEMU emulator version 7.2.22")
