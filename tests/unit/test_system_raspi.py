"""What Raspberry Pi machines need: their device trees, and a timer that does not stop them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from toolkit.boards.system import fdt, login, network_card, raspi, supervisor, timers
from toolkit.boards.system.board import SystemBoard
from toolkit.boards.system.fdt import Node, Tree
from toolkit.boards.system.gdb import Gdb, framed
from toolkit.boards.system.launch import Run
from toolkit.boards.system.qmp import Monitor, Silence
from toolkit.errors import PinnaceError


def node(compatible: str, **properties: bytes) -> Node:
    named = {name.replace("_", "-"): value for name, value in properties.items()}
    return Node(
        {"compatible": b"".join(one.encode() + b"\0" for one in compatible.split()), **named}
    )


def board() -> Tree:
    """The nodes of a Pi 3 that matter here."""
    uart = node("arm,pl011")
    uart.children["bluetooth"] = node("brcm,bcm43438-bt")
    wifi = node("brcm,bcm2835-sdhci", status=b"okay\0", mmc_pwrseq=b"\0\0\0\1")
    wifi.children["wifi@1"] = node("brcm,bcm4329-fmac")
    gpio = node("brcm,bcm2835-gpio")
    gpio.children["emmc-gpio48"] = Node({"phandle": b"\0\0\0\x25"})
    power = node("brcm,bcm2835-pm brcm,bcm2835-pm-wdt", reg_names=b"pm\0asb\0")
    power.set_cells("reg", 0x7E100000, 0x114, 0x7E00A000, 0x24)
    children = {
        "serial@7e201000": uart,
        "mmc@7e202000": node("brcm,bcm2835-sdhost", status=b"okay\0"),
        "mmc@7e300000": wifi,
        "gpio@7e200000": gpio,
        "watchdog@7e100000": power,
        "hdmi@7e902000": node("brcm,bcm2835-hdmi", status=b"okay\0"),
        "mailbox@7e00b840": node("brcm,bcm2836-vchiq brcm,bcm2835-vchiq"),
        "usb@7e980000": node(
            "brcm,bcm2835-usb", dr_mode=b"peripheral\0", g_rx_fifo_size=b"\0\0\1\0"
        ),
    }
    return Tree(Node(children={"soc": Node(children=children)}))


def changed(tmp_path: Path) -> Tree:
    (tmp_path / "before").write_bytes(fdt.dump(board()))
    raspi.change_tree(tmp_path / "before", tmp_path / "after")
    return fdt.parse((tmp_path / "after").read_bytes())


def test_the_power_manager_is_only_a_watchdog(tmp_path: Path) -> None:
    manager = changed(tmp_path).node("/soc/watchdog@7e100000")
    assert manager.cells("reg") == (0x7E100000, 0x114)
    assert manager.strings("reg-names") == ["pm"]


def test_the_card_is_on_the_controller_that_a_snapshot_keeps(tmp_path: Path) -> None:
    tree = changed(tmp_path)
    assert tree.compatible("brcm,bcm2835-sdhost").strings("status") == ["disabled"]
    sdhci = tree.compatible("brcm,bcm2835-sdhci")
    assert sdhci.strings("status") == ["okay"]
    assert sdhci.cells("pinctrl-0") == (0x25,)
    assert "mmc-pwrseq" not in sdhci.properties


def test_drivers_of_displays_find_none(tmp_path: Path) -> None:
    tree = changed(tmp_path)
    assert tree.node("/soc/hdmi@7e902000").strings("status") == ["disabled"]
    assert tree.node("/soc/mailbox@7e00b840").strings("status") == ["disabled"]


def test_the_serial_port_is_the_console_and_not_bluetooth(tmp_path: Path) -> None:
    tree = changed(tmp_path)
    assert tree.compatible("arm,pl011").children == {}
    assert tree.all_compatible("brcm,bcm4329-fmac") == []


def test_a_pi_4_has_a_port_that_devices_can_be_plugged_into() -> None:
    tree = board()
    raspi.with_usb_host(tree)
    port = tree.compatible("brcm,bcm2835-usb")
    assert port.strings("dr_mode") == ["host"]
    assert not [name for name in port.properties if name.startswith("g-")]


def test_the_card_of_a_pi_4_is_where_qemu_puts_it() -> None:
    tree = board()
    tree.node("/soc").children["mmc@7e340000"] = node("brcm,bcm2711-emmc2", status=b"okay\0")
    raspi.with_card_on_wifi_sdhci(tree)
    sdhci = tree.compatible("brcm,bcm2835-sdhci")
    assert sdhci.strings("status") == ["okay"]
    assert "mmc-pwrseq" not in sdhci.properties
    assert tree.compatible("brcm,bcm2711-emmc2").strings("status") == ["disabled"]


def test_no_driver_of_a_pi_4_reads_registers_that_qemu_lacks() -> None:
    tree = board()
    block = {
        "clock@7ef00000": node("brcm,brcm2711-dvp"),
        "interrupt-controller@7ef00100": node("brcm,bcm2711-l2-intc brcm,l2-intc"),
        "i2c@7ef04500": node("brcm,bcm2711-hdmi-i2c"),
        "i2c@7ef09500": node("brcm,bcm2711-hdmi-i2c"),
    }
    tree.node("/soc").children.update(block)
    raspi.without_display_of_pi4(tree)
    assert {one.properties["status"] for one in block.values()} == {b"disabled\0"}


class Port(Monitor):
    """QEMU's monitor of a machine whose driver of the USB host starts while somebody waits for its end."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self._configurations = iter((0x00, 0x30, 0x31))
        self._silent = 3

    def human(self, line: str) -> str:
        assert line == "xp /1xw 0xfe980008"
        return f"00000000fe980008: 0x{next(self._configurations):08x}\r\n"

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        self.did.append(command)

    def wait_for(self, event: str, seconds: float) -> dict[str, Any]:
        self._silent -= 1
        if self._silent < 0:
            assert seconds == float("inf")
            return {"event": event}
        assert seconds < 2
        raise Silence("QEMU does not answer")


def test_the_card_of_a_booting_machine_comes_when_its_usb_host_takes_interrupts() -> None:
    port, run = Port(), Run("pi4", "", "", "", "", 22)
    assert supervisor._shutdown(run, "", port) == {"event": "SHUTDOWN"}
    assert port.did == ["device_add"]


def test_a_machine_that_restarts_while_it_is_looked_after_is_heard(tmp_path: Path) -> None:
    """QEMU says why the machine ends, and is gone before it has answered."""
    path = tmp_path / "monitor"

    def qemu() -> None:
        with server.accept()[0] as connection:
            connection.sendall(b'{"QMP": {}}\n')
            connection.recv(1000)
            connection.sendall(b'{"return": {}}\n')
            connection.recv(1000)
            event = b'{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}\n'
            connection.sendall(event)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=qemu)
        thread.start()
        with Monitor(path) as monitor:
            run = Run("armv6l", "", "", str(tmp_path), "", 22)
            event = supervisor._shutdown(run, "", monitor)
        thread.join()
    assert event["data"]["reason"] == "guest-reset"


class Board(SystemBoard):
    """A board that has a console's log, and nothing behind it."""

    def __init__(self, log: Path) -> None:
        self.name, self._log = "sys-armv6l", log

    @property
    def console(self) -> Path:
        return self._log


class Wire(Monitor):
    """QEMU's monitor, which takes everything."""

    did: ClassVar[list[object]] = []

    def __init__(self, _: Path) -> None: ...

    def close(self) -> None: ...

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        self.did.append((command, arguments))

    def wait_for(self, event: str, seconds: float) -> dict[str, Any]:
        self.did.append(event)
        return {}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> type[Wire]:
    monkeypatch.setattr(network_card, "Monitor", Wire)
    Wire.did.clear()
    return Wire


def said(log: Path, answer: Callable[[str], str]) -> Callable[..., None]:
    """What a board's shell does that writes ``answer(script)`` on the console."""

    def command(_: SystemBoard, script: str, __: float) -> None:
        with log.open("a") as stream:
            stream.write(answer(script))

    return command


def test_a_card_is_taken_out_when_the_board_has_let_go_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: type[Wire]
) -> None:
    log = tmp_path / "console"
    log.write_text("Linux\n")
    told = said(log, lambda script: script.partition("echo network-")[2].partition(" ")[0])
    monkeypatch.setattr(login, "command", told)
    monkeypatch.setattr(network_card, "_RELEASE_SECONDS", 0)
    run = Run("armv6l", "/image", "/layer", str(tmp_path), str(log), 20022)
    with pytest.raises(PinnaceError, match=r"did not let go of its network card.*Linux"):
        network_card.take_out(Board(log), run)
    assert wire.did == []
    monkeypatch.setattr(
        login, "command", said(log, lambda script: script[script.index("network-") :])
    )
    network_card.take_out(Board(log), run)
    assert wire.did == [("device_del", {"id": "network0"}), "DEVICE_DELETED"]


def test_a_card_is_plugged_in_as_the_machine_says(wire: type[Wire], tmp_path: Path) -> None:
    network_card.put_back(Run("pi3", "/image", "/layer", str(tmp_path), "/log", 20022))
    card = {"driver": "usb-net", "id": "network0", "netdev": "network", "port": "1"}
    assert wire.did == [("device_add", card)]


class Stub:
    """QEMU's gdb stub at a socket: answers what it is told to, and remembers what it was asked."""

    def __init__(self, path: Path, answers: dict[str, str]) -> None:
        self.path, self.answers, self.asked = path, answers, list[str]()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        buffer = b""
        with connection:
            while data := connection.recv(4096):
                buffer += data
                while (end := buffer.find(b"#")) >= 0 and len(buffer) >= end + 3:
                    packet = buffer[:end].lstrip(b"+")[1:].decode()
                    buffer = buffer[end + 3 :]
                    self.asked.append(packet)
                    connection.sendall(b"+" + framed(self.answers.get(packet, "OK")))


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    made = Stub(tmp_path / "gdb", {"m20003004,4": "efbeadde", "mbad,4": "E14"})
    yield made
    made.close()


class Pretended(Monitor):
    """QEMU's monitor, with nothing behind it but the values of some words of memory."""

    def __init__(self, words: str = "") -> None:
        self.lines: list[str] = []
        self._words = words

    def human(self, line: str) -> str:
        self.lines.append(line)
        return self._words if line.startswith("xp") else ""


def test_registers_are_read_and_written_at_physical_addresses(stub: Stub) -> None:
    with Gdb(stub.path) as registers:
        assert registers.read(0x20003004) == 0xDEADBEEF
        registers.write(0x20003018, 0x11223344)
    expected = ["Qqemu.PhyMemMode:1", "m20003004,4", "M20003018,4:44332211", "D"]
    assert stub.asked == expected


def test_a_refusal_names_the_address(stub: Stub) -> None:
    with Gdb(stub.path) as registers, pytest.raises(PinnaceError, match="cannot read at 0xbad"):
        registers.read(0xBAD)


def test_no_stub_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PinnaceError, match="does not answer"):
        Gdb(tmp_path / "nothing")


def test_the_alarm_is_set_a_little_ahead_and_the_stub_is_closed(stub: Stub, tmp_path: Path) -> None:
    monitor = Pretended()
    raspi.rewind_timer(monitor, tmp_path)
    assert "M20003018,4:d7c2adde" in stub.asked
    assert monitor.lines[-1] == "gdbserver none"


def test_every_processor_of_four_is_told_to_look_at_its_clock(stub: Stub, tmp_path: Path) -> None:
    timers.wake_arm64(Pretended(), tmp_path)
    written = [packet for packet in stub.asked if packet.startswith("M")]
    assert written == [f"M400000{low}0,4:10000000" for low in ("8", "9", "a", "b")]


def timer(status: int, now: int, alarm: int) -> str:
    return (
        f"0000000020003000: 0x{status:08x} 0x{now:08x} 0x00000000 0x00000000\n"
        f"0000000020003010: 0x00000000 0x00000000 0x{alarm:08x}\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        timer(0, 0x1000, 0x1010),  # ahead
        timer(0, 0xFFFFFFF0, 0x100),  # ahead, behind the counter's end
        timer(8, 0x100000, 0x1000),  # due, and the processor knows
        timer(0, 0x2000, 0x1FF0),  # just now
        "Cannot access memory",
    ],
)
def test_an_alarm_that_will_come_is_left_alone(words: str, tmp_path: Path) -> None:
    monitor = Pretended(words)
    raspi.wake(monitor, tmp_path)
    assert len(monitor.lines) == 1


def test_an_alarm_that_was_missed_is_set_again(stub: Stub, tmp_path: Path) -> None:
    raspi.wake(Pretended(timer(0, 0xDEADBEEF, 0xDEAC0000)), tmp_path)
    assert "M20003018,4:d7c2adde" in stub.asked
