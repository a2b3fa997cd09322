"""Architecture facts: each mapping is pinned, ARMv6 and ARMv7 never mixed."""

import pytest

from toolkit.arch import Arch


@pytest.mark.parametrize(
    ("machine", "debian", "oci"),
    [
        ("armv6l", "armel", "linux/arm/v6"),
        ("armv7l", "armhf", "linux/arm/v7"),
        ("aarch64", "arm64", "linux/arm64"),
        ("x86_64", "amd64", "linux/amd64"),
    ],
)
def test_names_of_one_architecture(machine: str, debian: str, oci: str) -> None:
    facts = Arch.from_machine(machine).facts
    assert (facts.machine, facts.debian, facts.oci) == (machine, debian, oci)


def test_labels_are_accepted_too() -> None:
    assert Arch.from_machine("arm64") is Arch.ARM64


def test_unknown_machine() -> None:
    with pytest.raises(KeyError):
        Arch.from_machine("riscv64")
