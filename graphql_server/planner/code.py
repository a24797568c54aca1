"""Writes a Python function for a selection of fields on one type: from sources straight to the response's objects."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphql_server.planner.links import Leaf
from graphql_server.planner.values import serialized, unusual

Build = Callable[..., list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A field of a selection whose value is read from the source."""

    leaf: Leaf
    type: Any


@dataclass(frozen=True, slots=True)
class Constant:
    """A field of a selection whose value is known beforehand: the type's name."""

    value: str


def function(fields: Sequence[tuple[str, object]], columns: Sequence[str]) -> Build:
    """A function `(context, sources, *below)` that gives an object for each source.

    `fields` are response keys and what belongs there, in the response's order. What is neither Scalar nor Constant
    is taken from `below`, one list for each, which has an item for each source. `columns` are those of a row.
    """
    names: dict[str, Any] = {}
    lines: list[str] = []
    entries: list[str] = []
    below: list[str] = []
    for number, (key, value) in enumerate(fields):
        name = f"v{number}"
        if isinstance(value, Scalar):
            lines += _read(name, value, columns, names)
        elif isinstance(value, Constant):
            names[name] = value.value
        else:
            below.append(name)
        entries.append(f"{key!r}: {name}")
    return _compiled(lines, "{" + ", ".join(entries) + "}", below, names)


def _read(name: str, scalar: Scalar, columns: Sequence[str], names: dict[str, Any]) -> Iterator[str]:
    """The lines that leave a scalar's value, as the response has it, in the variable `name`."""
    leaf = scalar.leaf
    values = [f"source[{columns.index(column)}]" for column in leaf.columns] or ["source"]
    if leaf.read:
        names[f"read_{name}"] = leaf.read
        yield f"{name} = read_{name}({', '.join(['context'] * leaf.context + values)})"
    else:
        yield f"{name} = {values[0]}"
    names[f"write_{name}"] = serialized(scalar.type)
    written = f"write_{name}({name})"
    if leaf.otherwise is not None:
        names[f"else_{name}"] = leaf.otherwise
        written = f"else_{name} if {name} is None else {written}"
    yield f"if {unusual(scalar.type, null=leaf.otherwise is None).format(name)}: {name} = {written}"


def _compiled(lines: Sequence[str], entry: str, below: Sequence[str], names: dict[str, Any]) -> Build:
    targets = ", ".join(["source", *below])
    parameters = ", ".join(["context", "sources", *(f"below_{name}" for name in below)])
    sources = f"zip({', '.join(['sources', *(f'below_{name}' for name in below)])})" if below else "sources"
    text = "\n".join(
        [
            f"def build({parameters}):",
            "    built = []",
            "    add = built.append",
            f"    for {targets} in {sources}:",
            *(f"        {line}" for line in lines),
            f"        add({entry})",
            "    return built",
        ]
    )
    # All text in it is the planner's own, but for response keys, which are GraphQL names, and repr() quotes them.
    exec(compile(text, "<selection>", "exec"), names)
    build: Build = names["build"]
    return build
