"""How lists are read page by page, and the model that says what a page should be."""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.servers import Server

FIELDS = ("CREATED_AT", "CONFIDENCE", "ORIGINAL_FILE_NAME")
DIRECTIONS = ("ASC", "DESC")
VARIABLES = "$first: Int, $after: String, $last: Int, $before: String"
ARGUMENTS = "first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy"
PAGE = "totalCount edges { cursor node { pk } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
IMAGES = f"query({VARIABLES}, $orderBy: ImageOrder) {{ list: images({ARGUMENTS}) {{ {PAGE} }} }}"
DATASETS = f"query({VARIABLES}, $orderBy: DatasetOrder) {{ list: datasets({ARGUMENTS}) {{ {PAGE} }} }}"
NESTED = (
    f"query({VARIABLES}, $orderBy: ImageOrder, $pk: Int!)"
    f" {{ dataset(pk: $pk) {{ list: images({ARGUMENTS}) {{ {PAGE} }} }} }}"
)
COLUMNS = {"CONFIDENCE": "confidence", "ORIGINAL_FILE_NAME": "original_file_name", "TITLE": "title"}

Row = dict[str, Any]


def ordered(rows: Iterable[Row], order: tuple[str, str]) -> list[int]:
    """The keys in the order that is meant: nothing before every value, ties by key, DESC the very reverse."""
    column = COLUMNS.get(order[0])

    def place(row: Row) -> tuple[Any, ...]:
        value = row[column] if column else 0
        return (0, row["pk"]) if value is None else (1, value, row["pk"])

    return [row["pk"] for row in sorted(rows, key=place, reverse=order[1] == "DESC")]


def order_by(order: tuple[str, str]) -> dict[str, str]:
    return {"field": order[0], "direction": order[1]}


def page(server: Server, query: str, **variables: Any) -> Row:
    data = server.data(query, variables)
    return data["list"] if "list" in data else data["dataset"]["list"]


def pks(page: Row) -> list[int]:
    return [edge["node"]["pk"] for edge in page["edges"]]


def pages(server: Server, query: str, size: int, *, backward: bool = False, **variables: Any) -> Iterator[Row]:
    """All pages; each is read when it is wanted, behind (backward: before) the one read last."""
    count, cursor, more = ("last", "before", "hasPreviousPage") if backward else ("first", "after", "hasNextPage")
    place: str | None = None
    for _ in range(100):
        got = page(server, query, **variables, **{count: size, cursor: place})
        yield got
        if not got["pageInfo"][more]:
            return
        place = got["pageInfo"]["startCursor" if backward else "endCursor"]
    raise AssertionError("the pages have no end")


def joined(found: Iterable[Row], *, backward: bool) -> list[int]:
    """The keys of pages in the order of the list, whichever way it was read."""
    parts = [pks(page) for page in found]
    return [pk for part in (parts[::-1] if backward else parts) for pk in part]


def walk(server: Server, query: str, size: int, *, backward: bool = False, **variables: Any) -> list[int]:
    """All keys, read page by page; each page must tell rightly what lies around it."""
    more, behind = ("hasPreviousPage", "hasNextPage")[:: 1 if backward else -1]
    found = list(pages(server, query, size, backward=backward, **variables))
    for number, got in enumerate(found):
        info, edges = got["pageInfo"], got["edges"]
        assert (info[behind], info[more]) == (number > 0, number < len(found) - 1)
        assert [info["startCursor"], info["endCursor"]] == [edges[0]["cursor"], edges[-1]["cursor"]]
    keys = joined(found, backward=backward)
    assert {got["totalCount"] for got in found} == {len(keys)}
    return keys


def model_page(
    everything: list[int], kept: set[int], ends: tuple[int | None, int | None], limit: int, *, backward: bool
) -> Row:
    """Relay's algorithm, word for word, with what lies on the other side of the cursor a page began at."""
    start = 0 if ends[0] is None else everything.index(ends[0]) + 1
    stop = len(everything) if ends[1] is None else everything.index(ends[1])
    within = [pk for pk in everything[start:stop] if pk in kept]
    rows = within[max(0, len(within) - limit) :] if backward else within[:limit]
    first = everything.index(rows[0]) if rows else start
    last = everything.index(rows[-1]) + 1 if rows else stop
    more = len(within) > len(rows)
    precede = ends[0] is not None and any(pk in kept for pk in everything[:first])
    follow = ends[1] is not None and any(pk in kept for pk in everything[last:])
    return {
        "nodes": [{"pk": pk} for pk in rows],
        "pageInfo": {
            "hasPreviousPage": more if backward else precede,
            "hasNextPage": follow if backward else more,
        },
        "totalCount": len(kept),
    }
