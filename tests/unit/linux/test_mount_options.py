"""Mount option words become the right system call arguments."""

from pinnace.linux import mount
from pinnace.linux.mount import Mount, parse_options


def test_flags_and_data_are_told_apart() -> None:
    parsed = parse_options(["nosuid", "noexec", "mode=755", "size=64k"])
    assert parsed.flags == mount.MS_NOSUID | mount.MS_NOEXEC
    assert parsed.data == "mode=755,size=64k"


def test_a_later_word_takes_an_earlier_one_back() -> None:
    parsed = parse_options(["ro", "nodev", "rw"])
    assert parsed.flags == mount.MS_NODEV
    assert parsed.clear & mount.MS_RDONLY
    assert parse_options(["rw", "ro"]).clear & mount.MS_RDONLY == 0


def test_propagation_words_are_calls_of_their_own() -> None:
    parsed = parse_options(["rbind", "rslave", "shared"])
    assert parsed.flags == mount.MS_BIND | mount.MS_REC
    assert parsed.propagation == (mount.MS_SLAVE | mount.MS_REC, mount.MS_SHARED)
    assert parsed.data == ""


def test_recursive_attributes_and_copy_up() -> None:
    parsed = parse_options(["bind", "rro", "rnoatime", "tmpcopyup"])
    assert parsed.recursive == (1 | 0x10, 0x70)
    assert parsed.copy_up


def test_json_form_round_trips() -> None:
    item = Mount("overlay", "overlay", "", ("lowerdir=/a:/b", "ro"))
    assert Mount.from_dict(item.to_dict()) == item
    assert Mount.from_dict({"type": "bind", "source": "/x"}) == Mount("bind", "/x", "", ())
