"""``group_vars/`` and ``host_vars/`` beside an inventory: YAML or JSON, by the name of a group or host.

``NAME`` (a directory or a file), ``NAME.yml``, ``NAME.yaml`` and ``NAME.json``: the first that exists counts.
Of a directory all files, sorted by name, those in directories inside it too; hidden files and backups
(``~``) do not count. Other than with Ansible, a name that is given twice in one file is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import UsageError
from toolkit.inventory.model import Files, Origin, Variable
from toolkit.secrets import references

_EXTENSIONS = ("", ".yml", ".yaml", ".json")


def read(directory: Path, groups: Iterable[str], hosts: Iterable[str]) -> Files:
    """The variables that files in ``directory`` set for these groups and hosts.

    Raises :class:`UsageError` with file, line and column.
    """
    found: dict[tuple[str, str], dict[str, Variable]] = {}
    for kind, names in (("group", groups), ("host", hosts)):
        base = directory / f"{kind}_vars"
        if not base.is_dir():
            continue
        for name in names:
            # A host may be called like a path; its file would be outside.
            outside = name.startswith("/") or ".." in name.split("/")
            variables = {} if outside else _of(base, name, directory)
            if variables:
                found[kind, name] = variables
    return found


def _of(base: Path, name: str, inventory: Path) -> dict[str, Variable]:
    merged: dict[str, Variable] = {}
    for extension in _EXTENSIONS:
        path = base / f"{name}{extension}"
        if path.exists():
            for file in _below(path) if path.is_dir() else [path]:
                merged.update(_load(file, inventory))
            break
    return merged


def _below(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir():
            if not path.suffix:
                yield from _below(path)
        elif path.suffix in _EXTENSIONS:
            yield path


def _load(path: Path, inventory: Path) -> dict[str, Variable]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"{path} is not UTF-8 text") from problem
    loader = _Loader(text)
    loader.of(path, inventory)
    try:
        root = loader.get_single_node()
        return {} if root is None else dict(_variables(loader, root, str(path)))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = _origin(str(path), mark) if mark is not None else Origin(str(path), 1)
        raise UsageError(f"{where}: {problem.problem}") from problem
    except (yaml.YAMLError, RecursionError) as problem:
        raise UsageError(f"{path} is not YAML: {problem}") from problem
    finally:
        loader.dispose()


def _variables(loader: _Loader, root: yaml.Node, path: str) -> Iterator[tuple[str, Variable]]:
    if isinstance(root, yaml.ScalarNode) and root.value == "":
        return
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{_origin(path, root.start_mark)}: a file of variables is a mapping: name: value")  # fmt: skip
    loader.flatten_mapping(root)
    for key, value in root.value:
        name = loader.construct_object(key, deep=True)
        origin = _origin(path, key.start_mark)
        if not isinstance(name, str):
            raise UsageError(f"{origin}: the name of a variable is text, not {name!r}")
        yield name, Variable(loader.construct_object(value, deep=True), origin)


def _origin(path: str, mark: yaml.Mark) -> Origin:
    return Origin(path, mark.line + 1, mark.column + 1)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without objects of Python's, and without a name that is given twice."""

    def of(self, path: Path, inventory: Path) -> None:
        """What is read is the file ``path`` of the inventory in the directory ``inventory``."""
        self._path = path
        self._inventory = inventory

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twice(node)
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        _refuse_twice(node)
        super().flatten_mapping(node)

    def encrypted(self, node: yaml.Node) -> Any:
        raise yaml.constructor.ConstructorError(
            None, None, "encrypted with ansible-vault, which is not read here", node.start_mark
        )

    def secret(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "!secret stands before text", node.start_mark)  # fmt: skip
        origin = _origin(str(self._path), node.start_mark)
        try:
            return references.secret(node.value, base=self._inventory, origin=str(origin))
        except ValueError as problem:
            raise yaml.constructor.ConstructorError(None, None, str(problem), node.start_mark) from None  # fmt: skip

    def text(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "!unsafe stands before text", node.start_mark)  # fmt: skip
        return self.construct_yaml_str(node)


_Loader.add_constructor("!vault", _Loader.encrypted)
_Loader.add_constructor("!vault-encrypted", _Loader.encrypted)
_Loader.add_constructor("!unsafe", _Loader.text)
_Loader.add_constructor(references.TAG, _Loader.secret)


def _refuse_twice(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)  # fmt: skip
            seen.add(key.value)
