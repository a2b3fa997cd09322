"""Every kind of resource: what makes it absent, wrong, and drifted on a machine, and how to see it right.

The same table drives the tests of states and of kills; ``docs/resources.md`` has an example of each kind.
"""

from __future__ import annotations

import functools
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit.resources import (
    AuthorizedKey,
    Bundle,
    Clock,
    Container,
    Credential,
    Directory,
    File,
    Group,
    Hostname,
    Image,
    KernelCmdline,
    KernelModule,
    Line,
    Link,
    Mount,
    Package,
    Resource,
    Swap,
    Sysctl,
    Timezone,
    Unit,
    User,
    template,
)
from toolkit.secrets.key import digest_key
from toolkit.secrets.secret import Secret

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNvPZsSyqtOD5yD1S5MNHZ8SGQpNxtvWZR5Q1yT0abc ann@laptop"
UNIT = "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"
DEB = "/srv/pinnace-test_2_all.deb"
PI = "mkdir -p /boot/firmware; printf 'console=tty1 root=PARTUUID=1-02 rootwait\\n' >/boot/firmware/cmdline.txt"  # fmt: skip


HASH = "$6$salt$" + "a" * 86
digest_key("")  # this machine's key is made once, outside of the private roots


def named(value: str) -> Secret:
    return Secret("test:value", value.encode)


@dataclass(frozen=True)
class Case:
    """``resource`` is made inside the private root; the others are shell scripts that run there.

    Attributes:
        name: what the test is called.
        prepare: makes the board as it is before, without the thing.
        wrong: makes the thing there, but wrong, on a board that was prepared.
        drift: spoils what was right.
        right: succeeds only when the thing is as declared.
    """

    name: str
    resource: Callable[[], Resource]
    wrong: str
    drift: str
    right: str
    prepare: str = "true"


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _bundle() -> Resource:
    Path("/run/bundle.tar.gz").write_bytes(archive({"bin/ctr": "#!/bin/sh\n", "lib/a": "a"}))
    return Bundle(release="r2", archive=Path("/run/bundle.tar.gz"), unpacked=100)


def image(reference: str) -> bytes:
    """An archive that the stand-in for ctr imports as ``reference``."""
    sh_line = f"{reference} sha256:22"
    buffer = io.BytesIO()
    index = '{"manifests": [{"digest": "sha256:22", "annotations": {"io.containerd.image.name": "%s"}}]}'
    index %= reference
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in (("line", sh_line), ("index.json", index)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _image() -> Resource:
    Path("/run/image.tar").write_bytes(image("docker.io/library/web:1"))
    return Image(reference="docker.io/library/web:1", archive=Path("/run/image.tar"))


_DEB = """
mkdir -p /srv/{0}/DEBIAN /srv/{0}/usr/share/pinnace-test
printf 'Package: pinnace-test\\nVersion: {0}\\nArchitecture: all\\nMaintainer: a <a@b.c>\\nDescription: test\\n' >/srv/{0}/DEBIAN/control
echo {0} >/srv/{0}/usr/share/pinnace-test/version
dpkg-deb -b /srv/{0} /srv/pinnace-test_{0}_all.deb >/dev/null
"""
_REPOSITORY = """
mkdir -p /srv/repo/p/DEBIAN; cd /srv/repo
printf 'Package: pinnace-named\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b.c>\\nDescription: test\\n' >p/DEBIAN/control
dpkg-deb -b p named.deb >/dev/null
{ cat p/DEBIAN/control; echo Filename: ./named.deb; echo Size: $(stat -c %s named.deb); echo SHA256: $(sha256sum named.deb | cut -d' ' -f1); } >Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list
"""
_USER = "grep -q '^web:' /etc/passwd || useradd -m -s /bin/sh web"
_ACTIVE = "/var/lib/stand-in-systemd/active"

CASES = [
    Case(
        "file",
        lambda: File(path="/etc/demo/a.conf", source=b"right\n", mode="0640", group="adm"),
        wrong="mkdir -p /etc/demo; echo wrong >/etc/demo/a.conf; chmod 666 /etc/demo/a.conf",
        drift="echo more >>/etc/demo/a.conf",
        right="[ $(cat /etc/demo/a.conf) = right ] && [ $(stat -c %a:%U:%G /etc/demo/a.conf) = 640:root:adm ]",
    ),
    Case(
        "template",
        lambda: template("/etc/crictl.yaml", "crictl.yaml.j2", socket="/run/x.sock"),
        wrong="echo x >/etc/crictl.yaml",
        drift="sed -i s/x.sock/y.sock/ /etc/crictl.yaml",
        right="grep -q unix:///run/x.sock /etc/crictl.yaml",
    ),
    Case(
        "directory",
        lambda: Directory(path="/srv/demo/deep", mode="0750", owner="nobody", group="nogroup"),
        wrong="mkdir -p /srv/demo/deep; chmod 777 /srv/demo/deep",
        drift="chown root:root /srv/demo/deep",
        right="[ $(stat -c %a:%U:%G /srv/demo/deep) = 750:nobody:nogroup ]",
    ),
    Case(
        "link",
        lambda: Link(path="/usr/local/bin/demo", target="/opt/demo/bin/demo"),
        wrong="ln -s /elsewhere /usr/local/bin/demo",
        drift="ln -sfn /elsewhere /usr/local/bin/demo",
        right="[ $(readlink /usr/local/bin/demo) = /opt/demo/bin/demo ]",
    ),
    Case(
        "line",
        lambda: Line(path="/etc/demo.conf", match=r"^#?Port\b", line="Port 2222"),
        prepare="printf 'A 1\\n\\351\\nB 2' >/etc/demo.conf",
        wrong="printf 'A 1\\n\\351\\n#Port 22\\nB 2\\nPort 23\\n' >/etc/demo.conf",
        drift="sed -i s/2222/22/ /etc/demo.conf",
        right="[ $(grep -ac Port /etc/demo.conf) = 1 ] && grep -aqx 'Port 2222' /etc/demo.conf && grep -aqx 'B 2' /etc/demo.conf && grep -aq $(printf '\\351') /etc/demo.conf",
    ),
    Case(
        "line-absent",
        lambda: Line(path="/etc/demo.conf", match=r"^dtoverlay=bad", present=False),
        prepare="printf 'a=1\\ndtoverlay=bad\\n' >/etc/demo.conf",
        wrong="printf 'dtoverlay=bad2\\na=1\\ndtoverlay=bad\\n' >/etc/demo.conf",
        drift="echo dtoverlay=bad >>/etc/demo.conf",
        right="[ $(cat /etc/demo.conf) = a=1 ]",
    ),
    Case(
        "package-file",
        lambda: Package(debs=(Path(DEB),)),
        prepare=_DEB.format(2),
        wrong=_DEB.format(1) + "dpkg -i /srv/pinnace-test_1_all.deb",
        drift="dpkg -r pinnace-test",
        right="[ $(cat /usr/share/pinnace-test/version) = 2 ] && dpkg -s pinnace-test | grep -q 'ok installed'",
    ),
    Case(
        "package",
        lambda: Package(names=("pinnace-named",)),
        prepare=_REPOSITORY,
        wrong="dpkg --unpack /srv/repo/named.deb",
        drift="dpkg -r pinnace-named",
        right="dpkg -s pinnace-named | grep -q 'ok installed'",
    ),
    Case(
        "unit",
        lambda: Unit(unit="demo.service", source=UNIT, dropins={"50-nice.conf": "[Service]\nNice=5\n"}),
        wrong="mkdir -p /etc/systemd/system; printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/demo.service; systemctl start demo.service",
        drift="rm /etc/systemd/system/demo.service.d/50-nice.conf; systemctl disable demo.service",
        right=f"grep -q 'sleep 1000' {_ACTIVE}/demo.service && grep -q Nice=5 {_ACTIVE}/demo.service && [ -e {_ACTIVE}/../enabled/demo.service ]",
    ),
    Case(
        "unit-absent",
        lambda: Unit(unit="quiet.service", enabled=False, running=False),
        prepare="systemctl enable quiet.service; systemctl start quiet.service",
        wrong="systemctl disable quiet.service",
        drift="systemctl start quiet.service",
        right=f"[ ! -e {_ACTIVE}/quiet.service ] && [ ! -e {_ACTIVE}/../enabled/quiet.service ]",
    ),
    Case(
        "container",
        lambda: Container(container="web", image="docker.io/library/web:1", command=("serve", "50%", "$HOME"), network="host"),
        wrong="mkdir -p /etc/systemd/system; printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/container-web.service",
        drift="systemctl stop container-web.service",
        right=f"grep -qF '\"docker.io/library/web:1\" \"web\" \"serve\" \"50%%\" \"$$HOME\"' {_ACTIVE}/container-web.service",
    ),
    Case(
        "sysctl",
        lambda: Sysctl(key="net.ipv4.ip_forward", value="1"),
        prepare="echo 0 >/proc/sys/net/ipv4/ip_forward",
        wrong="mkdir -p /etc/sysctl.d; echo net.ipv4.ip_forward=0 >/etc/sysctl.d/60-pinnace.conf",
        drift="echo 0 >/proc/sys/net/ipv4/ip_forward",
        right="[ $(cat /proc/sys/net/ipv4/ip_forward) = 1 ] && grep -qx 'net.ipv4.ip_forward = 1' /etc/sysctl.d/60-pinnace.conf && [ $(wc -l </etc/sysctl.d/60-pinnace.conf) = 1 ]",
    ),
    Case(
        "kernel-module",
        lambda: KernelModule(module="pinnace_demo"),
        wrong="mkdir -p /etc/modules-load.d; echo other >/etc/modules-load.d/pinnace-pinnace_demo.conf",
        drift="rmdir /sys/module/pinnace_demo",
        right="[ -d /sys/module/pinnace_demo ] && [ $(cat /etc/modules-load.d/pinnace-pinnace_demo.conf) = pinnace_demo ]",
    ),
    Case(
        "kernel-cmdline",
        lambda: KernelCmdline(parameters=("cgroup_enable=memory", "cma=64M"), absent=("quiet", "cma=")),
        prepare=PI,
        wrong="printf 'quiet console=tty1 cma=256M\\n\\n' >/boot/firmware/cmdline.txt",
        drift="sed -i 's/cma=64M/cma=9M/' /boot/firmware/cmdline.txt",
        right="[ $(wc -l </boot/firmware/cmdline.txt) = 1 ] && grep -q '^console=tty1 .*cgroup_enable=memory cma=64M$\\|^console=tty1 cgroup_enable=memory cma=64M$' /boot/firmware/cmdline.txt && ! grep -q quiet /boot/firmware/cmdline.txt",
    ),
    Case(
        "file-secret",
        lambda: File(path="/srv/token", source=named("correct horse")),
        wrong="echo correct horse >/srv/token; chmod 644 /srv/token",
        drift="chmod g+r /srv/token",
        right="[ \"$(cat /srv/token)\" = 'correct horse' ] && [ $(stat -c %a:%U /srv/token) = 600:root ]",
    ),
    Case(
        "credential",
        lambda: Credential(unit="demo.service", credential="token", source=named("correct horse")),
        prepare="mkdir -p /etc/systemd/system; printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/demo.service",
        wrong="mkdir -p /etc/credstore.encrypted/demo.service; echo another | systemd-creds encrypt --name=token - /etc/credstore.encrypted/demo.service/token",
        drift="echo damaged >/etc/credstore.encrypted/demo.service/token",
        right="[ \"$(systemd-creds decrypt --name=token /etc/credstore.encrypted/demo.service/token -)\" = 'correct horse' ] && ! grep -rq 'correct horse' /etc && grep -q LoadCredentialEncrypted=token: /etc/systemd/system/demo.service.d/50-credential-token.conf",
    ),
    Case(
        "credential-before-250",
        lambda: Credential(unit="demo.service", credential="token", source=named("correct horse")),
        prepare="rm /usr/bin/systemd-creds; mkdir -p /etc/systemd/system; printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/demo.service",
        wrong="mkdir -m 700 -p /run/pinnace-credentials/demo.service; echo another >/run/pinnace-credentials/demo.service/token",
        drift="rm /run/pinnace-credentials/demo.service/token",
        right="[ \"$(cat /run/pinnace-credentials/demo.service/token)\" = 'correct horse' ] && [ $(stat -c %a /run/pinnace-credentials/demo.service/token) = 600 ] && [ $(stat -c %a /run/pinnace-credentials/demo.service) = 700 ] && ! grep -rq 'correct horse' /etc && grep -q LoadCredential=token: /etc/systemd/system/demo.service.d/50-credential-token.conf",
    ),
    Case(
        "user-password",
        lambda: User(user="ann", password=named(HASH)),
        wrong="useradd -m -p '$6$old$bbbbbbbb' ann",
        drift="usermod -p '!' ann",
        right=f"[ \"$(getent shadow ann | cut -d: -f2)\" = '{HASH}' ] && [ $(stat -c %a /etc/shadow) = 640 ]",
    ),
    Case(
        "group",
        lambda: Group(group="sensors", gid=4321),
        wrong="groupadd -g 4000 sensors",
        drift="groupdel sensors",
        right="[ $(getent group sensors | cut -d: -f3) = 4321 ]",
    ),
    Case(
        "group-absent",
        lambda: Group(group="sensors", present=False),
        prepare="groupadd sensors",
        wrong="useradd -m ann; usermod -aG sensors ann",
        drift="groupadd sensors",
        right="! getent group sensors",
    ),
    Case(
        "user",
        lambda: User(user="web", groups=("adm", "dialout"), shell="/bin/bash", comment="Web server"),
        wrong="useradd -M -s /bin/false web; usermod -aG audio web",
        drift="gpasswd -d web adm; rm -r /home/web",
        right="id -nG web | grep -q adm && id -nG web | grep -q dialout && [ $(getent passwd web | cut -d: -f7) = /bin/bash ] && [ $(stat -c %U:%a /home/web) = web:700 ]",
    ),
    Case(
        "user-absent",
        lambda: User(user="web", present=False),
        prepare="useradd -m web",
        wrong="usermod -aG adm web",
        drift="useradd web",
        right="! getent passwd web && [ -d /home/web ]",
    ),
    Case(
        "authorized-key",
        lambda: AuthorizedKey(user="web", key=KEY),
        prepare=_USER,
        wrong=f"mkdir -m 700 /home/web/.ssh; printf '%s\\n' 'ssh-rsa AAAAB3Nza other' 'command=\"false\" {KEY}' >/home/web/.ssh/authorized_keys; chmod 666 /home/web/.ssh/authorized_keys; chown -R web:web /home/web/.ssh",
        drift="chmod g+w /home/web/.ssh/authorized_keys",
        right=f"[ $(grep -cxF '{KEY}' /home/web/.ssh/authorized_keys) = 1 ] && [ $(stat -c %U:%a /home/web/.ssh/authorized_keys) = web:600 ] && [ $(stat -c %U:%a /home/web/.ssh) = web:700 ] && ! grep -q command= /home/web/.ssh/authorized_keys",
    ),
    Case(
        "authorized-key-absent",
        lambda: AuthorizedKey(user="web", key=KEY, present=False),
        prepare=f"{_USER}; mkdir -m 700 /home/web/.ssh; echo '{KEY}' >/home/web/.ssh/authorized_keys; chown -R web:web /home/web/.ssh",
        wrong=f"printf '%s\\n' 'ssh-rsa AAAAB3Nza other' 'command=\"false\" {KEY}' '{KEY}' >/home/web/.ssh/authorized_keys",
        drift=f"echo '{KEY}' >>/home/web/.ssh/authorized_keys",
        right="! grep -q AAAAC3Nza /home/web/.ssh/authorized_keys && [ $(stat -c %U:%a /home/web/.ssh) = web:700 ]",
    ),
    Case(
        "mount",
        lambda: Mount(path="/mnt/scratch disk", source="tmpfs", fstype="tmpfs", options=("nosuid", "nodev", "size=1m")),
        wrong="mkdir -p '/mnt/scratch disk'; echo 'ramfs /mnt/scratch\\040disk ramfs defaults 0 0' >>/etc/fstab; mount -t ramfs ramfs '/mnt/scratch disk'",
        drift="mount -o remount,ro '/mnt/scratch disk'",
        right="grep -q 'scratch.040disk rw,nosuid,nodev.* - tmpfs tmpfs rw,size=1024k' /proc/self/mountinfo && [ $(grep -c scratch /etc/fstab) = 1 ] && findmnt --verify --tab-file /etc/fstab >/dev/null || findmnt -n '/mnt/scratch disk' | grep -q tmpfs",
    ),
    Case(
        "mount-absent",
        lambda: Mount(path="/mnt/old", source="tmpfs", present=False),
        prepare="mkdir -p /mnt/old; mount -t tmpfs tmpfs /mnt/old",
        wrong="echo 'tmpfs /mnt/old tmpfs defaults 0 0' >>/etc/fstab",
        drift="mount -t tmpfs tmpfs /mnt/old",
        right="! grep -q /mnt/old /proc/self/mountinfo && ! grep -q /mnt/old /etc/fstab",
    ),
    Case(
        "swap",
        lambda: Swap(path="/var/swap", size=1 << 20),
        wrong="head -c 2097152 /dev/zero >/var/swap; chmod 600 /var/swap; mkswap /var/swap; swapon /var/swap",
        drift="swapoff /var/swap",
        right="grep -q '^/var/swap ' /proc/swaps && grep -q '^/var/swap none swap' /etc/fstab && [ $(stat -c %a:%s /var/swap) = 600:1048576 ]",
    ),
    Case(
        "swap-absent",
        lambda: Swap(path="/var/old-swap", size=0),
        prepare="head -c 1048576 /dev/zero >/var/old-swap; chmod 600 /var/old-swap; mkswap /var/old-swap; swapon /var/old-swap",
        wrong="echo '/var/old-swap none swap sw 0 0' >>/etc/fstab",
        drift="echo '/var/old-swap none swap sw 0 0' >>/etc/fstab",
        right="! grep -q old-swap /proc/swaps && ! grep -q old-swap /etc/fstab && [ ! -e /var/old-swap ]",
    ),
    Case(
        "hostname",
        lambda: Hostname(hostname="pi-kitchen"),
        prepare="printf '127.0.0.1 localhost\\n127.0.1.1 raspberrypi\\n' >/etc/hosts; echo raspberrypi >/etc/hostname; hostname raspberrypi",
        wrong="echo other >/etc/hostname",
        drift="hostname elsewhere",
        right="[ $(hostname) = pi-kitchen ] && [ $(cat /etc/hostname) = pi-kitchen ] && [ $(grep -c pi-kitchen /etc/hosts) = 1 ] && ! grep -q raspberrypi /etc/hosts",
    ),
    Case(
        "timezone",
        lambda: Timezone(zone="Europe/Berlin"),
        prepare="mkdir -p /usr/share/zoneinfo/Europe; touch /usr/share/zoneinfo/Europe/Berlin",
        wrong="rm -f /etc/localtime; echo a copy >/etc/localtime; echo Etc/UTC >/etc/timezone",
        drift="ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime",
        right="[ $(readlink -m /etc/localtime) = /usr/share/zoneinfo/Europe/Berlin ] && [ $(cat /etc/timezone) = Europe/Berlin ]",
    ),
    Case(
        "clock",
        lambda: Clock(tolerance=60),
        prepare="echo -100000 >/var/lib/clock-offset",
        wrong="echo 5000 >/var/lib/clock-offset",
        drift="echo -7200 >/var/lib/clock-offset",
        right="[ $(cut -d. -f1 /var/lib/clock-offset) -gt -30 ] && [ $(cut -d. -f1 /var/lib/clock-offset) -lt 30 ]",
    ),
    Case(
        "bundle",
        _bundle,
        wrong="mkdir -p /opt/pinnace/releases/r1 /opt/pinnace/releases/.incoming-r2; ln -s releases/r1 /opt/pinnace/current; touch /opt/pinnace/releases/.incoming-r2/half",
        drift="ln -sfn releases/r1 /opt/pinnace/current",
        right="[ $(readlink /opt/pinnace/current) = releases/r2 ] && [ -x /opt/pinnace/current/bin/ctr ] && [ $(cat /opt/pinnace/current/lib/a) = a ] && [ ! -e /opt/pinnace/releases/.incoming-r2 ]",
    ),
    Case(
        "image",
        _image,
        wrong="echo docker.io/library/web:1 sha256:11 >/var/lib/stand-in-images",
        drift="rm /var/lib/stand-in-images",
        right="[ $(ctr -n default images ls name==docker.io/library/web:1 | grep -c sha256:22) = 1 ]",
    ),
]  # fmt: skip

BY_NAME = {case.name: case for case in CASES}


@functools.cache
def kinds_covered() -> frozenset[str]:
    """The kinds that the table has; made without a private root where that is possible."""
    names = {case.name.removesuffix("-absent").removesuffix("-file").removesuffix("-secret").replace("-", "_") for case in CASES}  # fmt: skip
    return frozenset(names)
