"""Lists by pages whose images are saved and removed meanwhile, or have names that differ by little."""

from collections.abc import Generator

import pytest

from tests.pages import DIRECTIONS, FIELDS, IMAGES, Row, joined, order_by, page, pages, pks, walk
from tests.rows import Reader, put_images, reading, untrained_pk
from tests.servers import Server
from tests.together import REMOVE


@pytest.fixture
def reader(server: Server) -> Generator[Reader]:
    with reading(server) as reader:
        yield reader


def fill(reader: Reader) -> list[int]:
    confidences = [0.5, None, 0.25, 0.5, 0.75, None, 0.5, 0.25, 1.0, 0.5, 0.0, 0.5]
    return put_images(
        reader,
        untrained_pk(reader),
        [
            {"confidence": confidence, "original_file_name": f"{number % 3}.jpg", "uuid_file_name": f"{number}.jpg"}
            for number, confidence in enumerate(confidences)
        ],
    )


def test_images_whose_names_differ_by_spaces_are_paged_like_others(reader: Reader) -> None:
    names = ["a", "a ", "a  ", "a\t", "a\x00", "a\x1f", "a!", " a", "", " "] * 2
    put_images(reader, untrained_pk(reader), [{"original_file_name": name} for name in names])
    for direction in DIRECTIONS:
        order = order_by(("ORIGINAL_FILE_NAME", direction))
        everything = pks(page(reader, IMAGES, orderBy=order))
        assert len(set(everything)) == len(names)
        for backward in (False, True):
            assert walk(reader, IMAGES, 1, backward=backward, orderBy=order) == everything


@pytest.mark.parametrize("field", FIELDS)
def test_removed_images_shift_no_page(reader: Reader, field: str) -> None:
    order = {"field": field}
    for backward in (False, True):
        fill(reader)
        expected = pks(page(reader, IMAGES, orderBy=order))
        seen: list[Row] = []
        for got in pages(reader, IMAGES, 3, backward=backward, orderBy=order):
            seen.append(got)
            # The images of both cursors go; a page that counted from the start would leave two out.
            for pk in {pks(got)[0], pks(got)[-1]}:
                reader.data(REMOVE, {"pk": pk})
        assert joined(seen, backward=backward) == expected


def test_an_image_removed_before_its_page_is_read_is_not_in_it(reader: Reader) -> None:
    fill(reader)
    order = {"field": "CONFIDENCE", "direction": "DESC"}
    expected = pks(page(reader, IMAGES, orderBy=order))
    got = page(reader, IMAGES, first=5, orderBy=order)
    reader.data(REMOVE, {"pk": expected[4]})
    reader.data(REMOVE, {"pk": expected[5]})
    following = page(reader, IMAGES, after=got["pageInfo"]["endCursor"], orderBy=order)
    assert pks(following) == expected[6:]
    assert following["pageInfo"]["hasPreviousPage"]


def test_the_cursors_of_removed_images_tell_what_is_left_around_them(reader: Reader) -> None:
    fill(reader)
    for direction in DIRECTIONS:
        order = {"direction": direction}
        edges = page(reader, IMAGES, orderBy=order)["edges"]
        reader.data(REMOVE, {"pk": edges[0]["node"]["pk"]})
        got = page(reader, IMAGES, after=edges[0]["cursor"], before=edges[1]["cursor"], orderBy=order)
        assert got["edges"] == []
        assert not got["pageInfo"]["hasPreviousPage"]
        reader.data(REMOVE, {"pk": edges[-1]["node"]["pk"]})
        got = page(reader, IMAGES, last=5, after=edges[-2]["cursor"], before=edges[-1]["cursor"], orderBy=order)
        assert got["edges"] == []
        assert not got["pageInfo"]["hasNextPage"]


def test_a_cursor_is_good_when_nothing_is_left(reader: Reader) -> None:
    fill(reader)
    edges = page(reader, IMAGES)["edges"]
    for edge in edges:
        reader.data(REMOVE, {"pk": edge["node"]["pk"]})
    for variables in ({"after": edges[5]["cursor"]}, {"last": 5, "before": edges[5]["cursor"]}):
        got = page(reader, IMAGES, **variables)
        assert (got["edges"], got["totalCount"]) == ([], 0)
        assert not got["pageInfo"]["hasPreviousPage"]
        assert not got["pageInfo"]["hasNextPage"]


@pytest.mark.parametrize("field", FIELDS)
def test_images_saved_meanwhile_repeat_none_and_hide_none(reader: Reader, field: str) -> None:
    order = {"field": field}
    # Into the middle and to both ends of every order.
    values: list[tuple[float | None, str]] = [(None, ""), (0.5, "1.jpg"), (2.0, "z.jpg")]
    saved = [{"confidence": confidence, "original_file_name": name} for confidence, name in values]
    for backward in (False, True):
        fill(reader)
        before = pks(page(reader, IMAGES, first=1000, orderBy=order))
        added: list[int] = []
        seen: list[Row] = []
        for got in pages(reader, IMAGES, 3, backward=backward, orderBy=order):
            seen.append(got)
            if len(added) < 9:
                added += put_images(reader, untrained_pk(reader), saved)
        found = joined(seen, backward=backward)
        assert [pk for pk in found if pk not in added] == before
        now = pks(page(reader, IMAGES, first=1000, orderBy=order))
        assert found == [pk for pk in now if pk in found]
        if field == "CREATED_AT" and not backward:
            assert found == now
