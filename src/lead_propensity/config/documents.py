"""YAML as a document of plain values: nothing in it is executed, nothing in it grows beyond what it says."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

MOST_SIGNS = 5_000_000
MOST_VALUES = 200_000
"""Aliases count as often as they stand there: nine lines of them can mean a billion values."""

_NO_TEXT = re.compile("[\\0\\ud800-\\udfff]")
"""What no file name, table or message can hold."""


def read(path: Path) -> Any:
    """The values of a file. Raises yaml.YAMLError, ValueError, OSError, RecursionError where it holds none."""
    if path.stat().st_size > MOST_SIGNS:
        raise ValueError(
            f"it is larger than {MOST_SIGNS:,} bytes, and no config is. Give another file."
        )
    return parsed(path.read_text(encoding="utf-8"))


def parsed(text: str) -> Any:
    """Raises yaml.YAMLError, ValueError, RecursionError: also for a key given twice, and for values without end."""
    return yaml.load(text, _Plain)


def shown(value: object) -> str:
    """A value as a message repeats it: not the whole of a long one."""
    text = repr(value)
    return f"{text[:200]} ..." if len(text) > 200 else text


class _Plain(yaml.SafeLoader):
    """YAML keeps the last of two equal keys and says nothing; here that is an error."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _require_small(node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = next((key for key, count in keys.items() if count > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key `{twice}` stands here twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _require_small(root: yaml.Node) -> None:
    """Raises YAMLError where the values, aliases written out, are too many, have no end, or are no texts."""
    sizes: dict[int, int | None] = {}  # None: is being counted

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise _composer_error("holds itself", node)
            return known
        sizes[id(node)] = None
        if isinstance(node, yaml.ScalarNode) and _NO_TEXT.search(node.value):
            raise _composer_error(
                "holds a sign that no text has (a binary zero, half a letter)", node
            )
        total = 1 + sum(size(child) for child in _children(node))
        if total > MOST_VALUES:
            raise _composer_error(
                f"stands for more than {MOST_VALUES:,} values, its aliases written out", node
            )
        sizes[id(node)] = total
        return total

    size(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _composer_error(says: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, f"what begins here {says}", node.start_mark)
