"""What maintainer scripts would do to a fresh Debian root, done from outside; then what makes it a board.

Each function stands for the scripts of a few packages and says which. The scripts themselves never run:
they are programs of the board, for the board's processor, and want root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from toolkit.boards import recipe
from toolkit.boards.system import accounts, tools
from toolkit.boards.system.model import Model
from toolkit.boards.system.rootfs import Tree, enabled
from toolkit.errors import PinnaceError
from toolkit.process import run

_DIRECTORIES = (
    *("mnt", "srv", "opt", "media", "proc", "sys", "dev", "run", "root", "home", "boot/firmware"),
    *("etc/opt", "var/opt", "var/log/journal", "var/lib/pinnace", "var/lib/private"),
    *(f"usr/local/{name}" for name in ("share/man", "bin", "games", "lib", "libexec", "include", "sbin", "src", "etc")),
)  # fmt: skip

_ALTERNATIVES = {
    "awk": ("usr/bin/awk", "/usr/bin/mawk"),
    "nawk": ("usr/bin/nawk", "/usr/bin/mawk"),
    "pager": ("usr/bin/pager", "/usr/bin/more"),
    "rmt": ("usr/sbin/rmt", "/usr/sbin/rmt-tar"),
    "which": ("usr/bin/which", "/usr/bin/which.debianutils"),
    "iptables": ("usr/sbin/iptables", "/usr/sbin/iptables-nft"),
    "iptables-save": ("usr/sbin/iptables-save", "/usr/sbin/iptables-nft-save"),
    "iptables-restore": ("usr/sbin/iptables-restore", "/usr/sbin/iptables-nft-restore"),
    "ip6tables": ("usr/sbin/ip6tables", "/usr/sbin/ip6tables-nft"),
    "ip6tables-save": ("usr/sbin/ip6tables-save", "/usr/sbin/ip6tables-nft-save"),
    "ip6tables-restore": ("usr/sbin/ip6tables-restore", "/usr/sbin/ip6tables-nft-restore"),
}

# pam-auth-update(8) with the profile "unix" alone, and the umask that libpam-modules adds.
_PAM = {
    "auth_primary": "auth\t[success=1 default=ignore]\tpam_unix.so nullok",
    "account_primary": "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so",
    "password_primary": "password\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt",
    "session_primary": "session\t[default=1]\t\t\tpam_permit.so",
    "session_additional": "session\trequired\tpam_unix.so",
    "session_nonint_primary": "session\t[default=1]\t\t\tpam_permit.so",
    "session_nonint_additional": "session\trequired\tpam_unix.so",
}

# Nothing runs by itself in the middle of a test, and nothing waits for what a board does not have.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
    "systemd-firstboot.service",
    "systemd-homed.service",
    "systemd-timesyncd.service",
    "getty@tty1.service",
)

# The address is the same on every board: each is alone in its own user network (docs/boards.md).
_NETWORK = """\
[Match]
Name=eth0 en* usb*

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
IPv6AcceptRA=no
"""

# systemd-networkd leaves alone what a container engine sets up.
_FOREIGN = "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"

_AUTOLOGIN = """\
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin pi --noclear --keep-baud 115200,38400,9600 %I $TERM
"""

# A machine that is emulated on a busy one may need minutes for what takes a second.
_PATIENCE = "[Manager]\nDefaultTimeoutStartSec=10min\nDefaultDeviceTimeoutSec=10min\n"

REGISTRY_ADDRESS = "10.0.2.100"
"""Where a board finds the lab registry: an address that exists in its user network only."""


def configure(tree: Tree, model: Model) -> accounts.Accounts:
    """Do it all; returns the accounts that the root has now."""
    _base_files(tree)
    people = accounts.collect(tree.path)
    people.write(tree.path / "etc", int(time.time()) // 86400)
    _owners(tree, people)
    _alternatives(tree)
    _pam(tree)
    _certificates(tree)
    _python(tree)
    _systemd(tree)
    _board(tree, model)
    return people


def _base_files(tree: Tree) -> None:
    """base-files, base-passwd, libc-bin, debianutils, tzdata, netbase, kmod, dash."""
    root = tree.path
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, target in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(target)
    samples = root / "usr/share/base-files"
    for sample, name in (("dot.profile", "root/.profile"), ("dot.bashrc", "root/.bashrc"), ("profile", "etc/profile"), ("motd", "etc/motd")):  # fmt: skip
        shutil.copy(samples / sample, root / name)
    shutil.copy(root / "usr/share/libc-bin/nsswitch.conf", root / "etc/nsswitch.conf")
    for name, target_name in (("var/run", "/run"), ("var/lock", "/run/lock"), ("var/spool/mail", "../mail")):  # fmt: skip
        path = root / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        tree.link(name, target_name)
    tree.link("etc/mtab", "../proc/self/mounts")
    tree.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
    tree.link("etc/dpkg/origins/default", "debian")
    shells = (root / "usr/share/debianutils/shells").read_text()
    more = [
        path.read_text() for path in sorted((root / "usr/share/debianutils/shells.d").glob("*"))
    ]
    tree.write("etc/shells", shells + "".join(more))
    for name in ("etc/environment", "etc/modules", "etc/networks"):
        tree.write(name, "")
    tree.write("etc/subuid", f"{recipe.USER}:100000:65536\n")
    tree.write("etc/subgid", f"{recipe.USER}:100000:65536\n")
    for name in ("wtmp", "btmp", "lastlog"):
        tree.write(f"var/log/{name}", "", 0o660 if name == "btmp" else 0o664)
    (root / "var/mail").mkdir(exist_ok=True)


def _owners(tree: Tree, people: accounts.Accounts) -> None:
    """openssh-client, dbus, systemd, shadow: what belongs to somebody else than root, or is setuid."""
    shadow = people.gid("shadow")
    for name in ("etc/shadow", "etc/gshadow"):
        tree.own(name, 0, shadow, 0o640)
    tree.own("usr/bin/ssh-agent", 0, people.gid("_ssh"), 0o2755)
    helper = "usr/lib/dbus-1.0/dbus-daemon-launch-helper"
    tree.own(helper, 0, people.gid("messagebus"), 0o4754)
    for name in ("wtmp", "btmp", "lastlog"):
        tree.own(f"var/log/{name}", 0, people.gid("utmp"))
    tree.own("var/mail", 0, people.gid("mail"), 0o2775)
    tree.own("var/log/journal", 0, people.gid("systemd-journal"), 0o2755)


def _alternatives(tree: Tree) -> None:
    """mawk, util-linux, tar, debianutils, iptables: update-alternatives(1)."""
    for name, (link, target) in _ALTERNATIVES.items():
        if (tree.path / target.lstrip("/")).exists() or os.path.lexists(tree.path / target[1:]):
            tree.link(link, f"/etc/alternatives/{name}")
            tree.link(f"etc/alternatives/{name}", target)


def _pam(tree: Tree) -> None:
    """libpam-runtime: the common-* files from their templates."""
    for template in sorted((tree.path / "usr/share/pam").glob("common-*")):
        if template.suffix:
            continue
        lines = []
        for line in template.read_text().splitlines():
            lines.append(_PAM.get(line[1:], "") if line.startswith("$") else line)
        tree.write(f"etc/pam.d/{template.name}", "".join(f"{line}\n" for line in lines))


def _certificates(tree: Tree) -> None:
    """ca-certificates: every authority trusted, in one file and by hash."""
    root, names, everything = tree.path, [], []
    certs = root / "etc/ssl/certs"
    certs.mkdir(parents=True, exist_ok=True)
    source = root / "usr/share/ca-certificates"
    for path in sorted(source.rglob("*.crt")):
        names.append(str(path.relative_to(source)))
        everything.append(path.read_text().rstrip("\n") + "\n")
        # Relative to the tree for now, so that `openssl rehash` can follow it.
        (certs / f"{path.stem}.pem").symlink_to(os.path.relpath(path, certs))
    tree.write("etc/ca-certificates.conf", "".join(f"{name}\n" for name in names))
    run([*tools.command("usr/bin/openssl"), "rehash", certs], "hashing certificates")
    for link in certs.glob("*.pem"):
        name = os.path.relpath(link.resolve(), root.resolve())
        link.unlink()
        link.symlink_to(f"/{name}")
    tree.write("etc/ssl/certs/ca-certificates.crt", "".join(everything))
    (root / "usr/local/share/ca-certificates").mkdir(parents=True, exist_ok=True)


# py_compile's default: byte code that is checked against its source's time, as the postinst makes it.
_COMPILE = """
import compileall, sys
compileall.compile_dir(sys.argv[1], stripdir=sys.argv[2], prependdir="/", quiet=2, workers=1)
"""


def _python(tree: Tree) -> None:
    """python3.X-minimal: byte code of the standard library, by Debian's own Python of that version."""
    lib = next((tree.path / "usr/lib").glob("python3.*"))
    if lib.name != "python3.13":
        return  # the board's Python compiles what it imports, once
    words = [*tools.command("usr/bin/python3.13"), "-ISE", "-c", _COMPILE, str(lib), str(tree.path)]
    environment = {**os.environ, "PYTHONHOME": str(tools.folder() / "usr")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise PinnaceError(f"compiling Python's library failed: {done.stderr.strip()[-200:]}")


def _systemd(tree: Tree) -> None:
    """systemd, openssh-server: units that are enabled, and those that a board does without."""
    enabled(tree, ["remote-fs.target", "ssh.service", "systemd-networkd.service"])
    for unit in _MASKED:
        tree.link(f"etc/systemd/system/{unit}", "/dev/null")
    # systemd would otherwise go through everything that it does after an upgrade.
    newest = int((tree.path / "usr").stat().st_mtime)
    for name in ("etc/.updated", "var/.updated"):
        tree.write(name, "")
        os.utime(tree.path / name, (newest, newest))


def _board(tree: Tree, model: Model) -> None:
    """The user, SSH, the network and the file systems of a board."""
    shutil.copytree(tree.path / "etc/skel", tree.path / "home" / recipe.USER)
    tree.write("etc/sudoers.d/010_pi-nopasswd", f"{recipe.USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    shutil.copy(tree.path / "usr/share/openssh/sshd_config", tree.path / "etc/ssh/sshd_config")
    tree.write("etc/ssh/sshd_config.d/board.conf", recipe.SSHD)
    tree.write("etc/systemd/network/10-board.network", _NETWORK)
    tree.write("etc/systemd/networkd.conf.d/board.conf", _FOREIGN)
    tree.write("etc/systemd/system.conf.d/board.conf", _PATIENCE)
    tree.write("etc/systemd/system/serial-getty@.service.d/autologin.conf", _AUTOLOGIN)
    # PAM looks for both at every login: it runs the programs in the one, and complains of the other's absence.
    shutil.rmtree(tree.path / "etc/update-motd.d", ignore_errors=True)
    # (Debian 13 makes the second a link to the first when it starts.)
    tree.write("etc/locale.conf", "")
    tree.write("etc/default/locale", "")
    tree.write("etc/resolv.conf", "# A board has no name server; registry.lab is in /etc/hosts.\n")
    tree.write(
        "etc/fstab",
        f"{model.root_device} / ext4 defaults,noatime 0 1\n"
        f"{model.boot_device} /boot/firmware vfat defaults,nofail 0 2\n",
    )


def identify(tree: Tree, name: str, machine_id: str, host_key: Path, login_key: str, registry: str) -> None:  # fmt: skip
    """Give the root its name and keys. ``registry`` is the name of the lab registry."""
    tree.write("etc/hostname", f"{name}\n")
    tree.write("etc/machine-id", f"{machine_id}\n", 0o444)
    hosts = {"127.0.0.1": "localhost", "127.0.1.1": name, "::1": "localhost ip6-localhost", REGISTRY_ADDRESS: registry}  # fmt: skip
    tree.write("etc/hosts", "".join(f"{ip}\t{names}\n" for ip, names in hosts.items()))
    tree.write("etc/ssh/ssh_host_ed25519_key", host_key.read_text(), 0o600)
    public = host_key.with_name(f"{host_key.name}.pub").read_text()
    tree.write("etc/ssh/ssh_host_ed25519_key.pub", public)
    home = f"home/{recipe.USER}"
    tree.write(f"{home}/.ssh/authorized_keys", f"{login_key}\n", 0o600)
    (tree.path / home / ".ssh").chmod(0o700)
    (tree.path / home).chmod(0o700)
    for folder, names, files in os.walk(tree.path / home):
        for entry in [".", *names, *files]:
            path = os.path.normpath(os.path.relpath(os.path.join(folder, entry), tree.path))
            tree.own(path, recipe.UID, recipe.UID)
