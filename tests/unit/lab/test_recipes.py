"""How the lab's images are put together."""

import pytest

from toolkit.errors import PinnaceError
from toolkit.lab.recipes import RECIPES, applets


def test_applets_are_read_from_the_sorted_table() -> None:
    program = b"\x7fELF..sh\0junk\0[\0[[\0ash\0cat\0sh\0zcat\0%s: usage\0abc\0"
    assert applets(program) == ["[", "[[", "ash", "cat", "sh", "zcat"]


def test_a_busybox_without_a_table_is_an_error() -> None:
    with pytest.raises(PinnaceError, match="applets"):
        applets(b"\x7fELF no table here\0")


def test_nginx_shares_its_lowest_layer_with_debian() -> None:
    by_name = {recipe.repository: recipe for recipe in RECIPES}
    nginx, debian = by_name["library/nginx"], by_name["library/debian"]
    assert nginx.layers[0] == debian.layers[0]
    assert len(nginx.layers) == 3
