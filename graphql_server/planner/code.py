"""Writes a Python function for a selection of fields on one type: from sources straight to the response's objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from graphql import GraphQLList

from graphql_server.planner.links import Leaf, Part, Sure, Unplanned
from graphql_server.planner.values import is_usual, serialized, unusual, unwrapped

Build = Callable[..., list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is selected of a type's objects: response keys and what belongs there, in the response's order.

    A text is the value itself. `row` gives the row that a source holds, where it is not the row itself.
    """

    type_name: str
    fields: Sequence[tuple[str, object]]
    row: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A field of a selection whose value is read from the source; of a column it may be `sure` what it holds."""

    leaf: Leaf
    type: Any
    sure: Sure | None


@dataclass(frozen=True, slots=True)
class Held:
    """A field of a selection whose objects the source has, and for nothing in them anybody must be asked."""

    part: Part
    type: Any
    selection: Selection


class Writer:
    """Writes one function, for rows that have these columns of each type."""

    def __init__(self, columns: Mapping[str, Sequence[str]]) -> None:
        self._columns = columns
        self._lines: list[str] = []
        self._values: dict[str, Any] = {"Unplanned": Unplanned}
        self._below: list[str] = []
        self.lists = False  # whether an object holds lists of others

    def function(self, selection: Selection) -> Build:
        """A function `(host, sources, *below)` that gives an object for each source, and adds to `host.values`.

        What is neither Scalar, Held nor a text is taken from `below`, one list for each, with an item for each source.
        """
        entry = self._object(2, "source", selection)
        lists = [f"below_{name}" for name in self._below]
        together = f"zip({', '.join(['sources', *lists])})" if lists else "sources"
        start = f"def build({', '.join(['host', 'sources', *lists])}):"
        counted = f"    host.values += {len(selection.fields)} * len(sources)"
        inside, self._lines = self._lines, []
        made = self._list(1, "built", entry, f"{', '.join(['source', *self._below])} in {together}", inside)
        text = "\n".join([start, counted, *self._lines, f"    return {made}"])
        # All text in it is the planner's own, but for response keys, which are GraphQL names, and repr() quotes them.
        exec(compile(text, "<selection>", "exec"), self._values)
        build: Build = self._values["build"]
        return build

    def _object(self, depth: int, source: str, selection: Selection) -> str:
        """Write what makes a source into an object; gives Python's text for that object."""
        columns = self._columns.get(selection.type_name, ())
        if selection.row:
            self._line(depth, f"{source} = {self._known(selection.row)}({source})")
        entries: list[str] = []
        for key, field in selection.fields:
            name = f"{source}_{len(entries)}"
            if isinstance(field, Scalar):
                read = [f"{source}[{columns.index(each)}]" for each in field.leaf.columns]
                name = self._scalar(depth, name, field, read or [source])
            elif isinstance(field, str):
                self._values[name] = field
            elif isinstance(field, Held):
                place = f"{source}[{columns.index(field.part.column)}]" if field.part.column else source
                self._line(depth, f"{name} = {self._known(field.part.read)}({place})")
                name = self._held(depth, name, field.type, field)
            else:
                self._below.append(name)
            entries.append(f"{key!r}: {name}")
        return "{" + ", ".join(entries) + "}"

    def _scalar(self, depth: int, name: str, scalar: Scalar, read: Sequence[str]) -> str:
        """Write what makes a scalar's value, as the response has it; gives Python's text for it, perhaps `name`."""
        leaf, sure = scalar.leaf, scalar.sure
        value = f"{self._known(leaf.read)}({', '.join(['host'] * leaf.context + [*read])})" if leaf.read else read[0]
        otherwise = "" if leaf.otherwise is None else f"{self._known(leaf.otherwise)} if {{0}} is None else "
        if sure and is_usual(scalar.type, sure, null=bool(otherwise)):
            return (otherwise.format(value) if sure.null else "") + value
        self._line(depth, f"{name} = {value}")
        written = f"{otherwise.format(name)}{self._known(serialized(scalar.type))}({name})"
        self._line(depth, f"if {unusual(scalar.type, null=not otherwise).format(name)}: {name} = {written}")
        return name

    def _held(self, depth: int, name: str, type_: Any, held: Held) -> str:
        """Write what makes of the variable `name`, an object or a list, what the response has, as `_scalar` does."""
        inner, required = unwrapped(type_)
        nullable = not held.part.rows and not required
        if not held.part.rows:  # of which none is null
            self._line(depth, f"if {name} is None: raise Unplanned" if required else f"if {name} is not None:")
        depth += nullable
        if isinstance(inner, GraphQLList):
            self.lists = True
            self._line(depth, f"host.values += {len(held.selection.fields)} * len({name})")
            before, self._lines = self._lines, []
            made = self._held(depth + 1, item := f"{name}_item", cast("Any", inner).of_type, held)
            inside, self._lines = self._lines, before
            made = self._list(depth, f"{name}_made", made, f"{item} in {name}", inside)
        else:
            made = self._object(depth, name, held.selection)
        if nullable:
            self._line(depth, f"{name} = {made}")
        return name if nullable else made

    def _list(self, depth: int, name: str, entry: str, each: str, inside: Sequence[str]) -> str:
        """Write what makes a list of an entry for `each`, after the lines `inside`; gives Python's text for it."""
        if not inside:
            return f"[{entry} for {each}]"
        self._line(depth, f"{name} = []")
        self._line(depth, f"for {each}:")
        self._lines += inside
        self._line(depth + 1, f"{name}.append({entry})")
        return name

    def _line(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    def _known(self, value: Any) -> str:
        """The name by which the function knows a value."""
        name = f"known{len(self._values)}"
        self._values[name] = value
        return name
