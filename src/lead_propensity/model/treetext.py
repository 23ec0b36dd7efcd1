"""LightGBM's text, read before LightGBM reads it: it trusts lengths and places, and reads past a damaged end."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

NUMBER = re.compile(r"-?(\d+(\.\d*)?(e[+-]?\d+)?|inf)")
WHOLE = re.compile(r"-?\d{1,9}")
WORD = re.compile(r"\d{1,10}")
"""A 32-bit word of a set of categories."""
HEAD = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
    "objective": "binary sigmoid:1",
}
SPLITS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
INNER = ("internal_value", "internal_weight", "internal_count")
LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
WHOLES = (
    *("split_feature", "decision_type", "left_child", "right_child", "leaf_count"),
    *("internal_count", "cat_boundaries"),
)
END = "end of trees\n"
TAIL = re.compile(
    r"\nfeature_importances:\n(Column_\d+=\d+\n)*"
    r"\nparameters:\n(\[\w+:[^\n]*\]\n)+\nend of parameters\n\npandas_categorical:null\n"
)


@dataclass(frozen=True)
class Tree:
    """One tree. Of `leaves` - 1 splits, a child is the place of a split, or `-1 - leaf`."""

    column: list[int]
    threshold: list[float]
    """Numbers up to it go left; of a split by category the place of its set among `sets`."""
    decision_type: list[int]
    """LightGBM's bits: 1 by category, 2 missing goes left, 4 and 8 what is missing (0, zero, NaN)."""
    left: list[int]
    right: list[int]
    split_rows: list[int]
    leaf_rows: list[int]
    """How many training rows came by, and how many stayed."""
    leaf_value: list[float]
    sets: list[tuple[int, ...]]
    """32-bit words, each bit one category that goes left."""


def trees(text: str) -> list[Tree]:
    """The trees of a text that `require_whole` has let pass."""
    start, end = text.find("\nTree=0\n"), text.find(END)
    head = _fields(text[len("tree\n") : start].splitlines())
    blocks = _blocks(text[start + 1 : end], head["tree_sizes"])
    return [_tree(_fields(block[:-3].splitlines()[1:])) for block in blocks]


def _tree(fields: dict[str, str]) -> Tree:
    def wholes(name: str) -> list[int]:
        return [int(number) for number in _numbers(name, fields.get(name, ""), WHOLE)]

    words = [int(word) for word in _numbers("cat_threshold", fields.get("cat_threshold", ""), WORD)]
    split = int(fields["num_leaves"]) > 1
    return Tree(
        wholes("split_feature"),
        _numbers("threshold", fields["threshold"], NUMBER),
        wholes("decision_type"),
        wholes("left_child"),
        wholes("right_child"),
        wholes("internal_count"),
        wholes("leaf_count") if split else [1],
        _numbers("leaf_value", fields["leaf_value"], NUMBER),
        [tuple(words[low:high]) for low, high in pairwise(wholes("cat_boundaries"))],
    )


def require_whole(text: str, columns: int) -> None:
    """Raises ValueError unless `text` is a whole boosted model of one class over `columns` columns.

    Every tree lies where `tree_sizes` says, has as many numbers as it has leaves, and leads each row
    to one of them.
    """
    if re.search(r"[^\n -~]", text):
        raise ValueError("the trees hold other signs than plain text")
    start, end = text.find("\nTree=0\n"), text.find(END)
    if not (text.startswith("tree\n") and 0 < start < end):
        raise ValueError(f"the trees do not begin, or lack {END.strip()!r}")
    if not TAIL.fullmatch(text[end + len(END) :]):
        raise ValueError("the parameters after the trees are not whole")
    head = _fields(text[len("tree\n") : start].splitlines())
    _require_head(head, columns)
    for number, block in enumerate(_blocks(text[start + 1 : end], head["tree_sizes"])):
        try:
            _require_tree(block, number, columns)
        except (KeyError, IndexError) as error:
            raise ValueError(f"tree {number} is not whole: {error}") from error


def _fields(lines: Sequence[str]) -> dict[str, str]:
    pairs = [line.partition("=")[::2] for line in lines if line]
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("the trees say something twice")
    return fields


def _require_head(head: dict[str, str], columns: int) -> None:
    wanted = {
        **HEAD,
        "max_feature_idx": str(columns - 1),
        "feature_names": " ".join(f"Column_{place}" for place in range(columns)),
    }
    for name, value in wanted.items():
        if head.get(name) != value:
            raise ValueError(f"the trees have {name}={head.get(name)}, {value} is needed")
    lists = {"feature_infos", "tree_sizes"}
    if "monotone_constraints" in head:
        lists.add("monotone_constraints")
    if set(head) != {*wanted, *lists}:
        raise ValueError("the trees begin with other lines than they should")
    for name in lists - {"tree_sizes"}:
        if len(head[name].split(" ")) != columns:
            raise ValueError(f"the trees' {name} is not one for each of {columns} columns")


def _blocks(text: str, sizes: str) -> Iterator[str]:
    place = 0
    for size in _numbers("tree_sizes", sizes, WHOLE):
        yield text[place : place + int(size)]
        place += int(size)
    if place != len(text):
        raise ValueError(f"tree_sizes add up to {place}, the trees take {len(text)} signs")


def _require_tree(block: str, number: int, columns: int) -> None:
    if not (block.startswith(f"Tree={number}\n") and block.endswith("\n\n\n")):
        raise ValueError(f"tree {number} does not lie where tree_sizes says")
    tree = _fields(block[:-3].splitlines()[1:])
    if any(line == "" for line in block[:-3].splitlines()):
        raise ValueError(f"tree {number} has an empty line")
    leaves, sets = (int(_one(tree, name)) for name in ("num_leaves", "num_cat"))
    shapes = dict.fromkeys((*SPLITS, *INNER), leaves - 1) | dict.fromkeys(LEAVES, leaves)
    if sets:
        shapes["cat_boundaries"] = sets + 1
    arrays = {
        name: _numbers(name, tree[name], WHOLE if name in WHOLES else NUMBER) for name in shapes
    }
    for name, size in shapes.items():
        if len(arrays[name]) != size and not (leaves == 1 and name in LEAVES[1:]):
            raise ValueError(f"tree {number} has {len(arrays[name])} {name}, {size} are needed")
    if leaves < 1 or tree["is_linear"] != "0" or not all(map(math.isfinite, arrays["leaf_value"])):
        raise ValueError(f"tree {number} has a leaf without a number")
    _numbers("shrinkage", tree["shrinkage"], NUMBER)
    words = len(_numbers("cat_threshold", tree["cat_threshold"], WORD)) if sets else 0
    _require_sets(arrays, words, number)
    _require_paths(arrays, columns, number)


def _require_sets(arrays: dict[str, list[float]], words: int, number: int) -> None:
    """Every split by category names a set of categories, and the sets fill `words` words."""
    bounds = arrays.get("cat_boundaries", [0])
    rising = all(low < high for low, high in pairwise(bounds))
    if not (bounds[0] == 0 and bounds[-1] == words and rising):
        raise ValueError(f"tree {number} has no whole sets of categories")
    for kind, threshold in zip(arrays["decision_type"], arrays["threshold"], strict=True):
        by_category = int(kind) & 1
        if not 0 <= kind < 16 or (by_category and threshold not in range(len(bounds) - 1)):
            raise ValueError(f"tree {number} splits by a set of categories that it does not have")


def _require_paths(arrays: dict[str, list[float]], columns: int, number: int) -> None:
    """Every split and every leaf is reached once: `-1 - leaf` or a split's place in the children."""
    leaves = len(arrays["leaf_value"])
    if any(column not in range(columns) for column in arrays["split_feature"]):
        raise ValueError(f"tree {number} splits a column that is not there")
    # A child stands after its parent, so reaching each once leaves no room for a circle.
    children = list(zip(arrays["left_child"], arrays["right_child"], strict=True))
    later = all(child < 0 or child > split for split, pair in enumerate(children) for child in pair)
    reached = sorted(child for pair in children for child in pair)
    wanted = [*range(-leaves, 0), *range(1, leaves - 1)] if leaves > 1 else []
    if reached != wanted or not later:
        raise ValueError(f"tree {number} does not lead every row to a leaf")


def _one(tree: dict[str, str], name: str) -> float:
    (value,) = _numbers(name, tree[name], WHOLE)
    return value


def _numbers(name: str, text: str, form: re.Pattern[str]) -> list[float]:
    tokens = text.split(" ") if text else []
    odd = next((token for token in tokens if not form.fullmatch(token)), None)
    if odd is not None:
        raise ValueError(f"the trees' {name} holds {odd!r}")
    return [float(token) for token in tokens]
