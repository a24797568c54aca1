"""The page of GraphiQL and its files, as the server sends them."""

import gzip
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_server.http import graphiql as served
from tests.browser import Demo

ASSETS = sorted(path.name for path in (served.BUILT / "assets").glob("*") if path.suffix != ".gz")


def test_the_page_has_a_strict_policy_and_is_asked_for_anew_each_time(demo: Demo) -> None:
    headers = httpx.get(f"{demo.url}/graphql", headers={"Accept": "text/html"}).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-type"].startswith("text/html")


def test_the_bare_address_leads_to_the_page(demo: Demo) -> None:
    answer = httpx.get(f"{demo.url}/", headers={"accept": "text/html"}, follow_redirects=True)
    assert (str(answer.url), answer.status_code) == (f"{demo.url}/graphql", 200)


def test_the_page_names_its_files_relative_to_itself_so_that_path_prefixes_work(demo: Demo) -> None:
    html = httpx.get(f"{demo.url}/graphql", headers={"Accept": "text/html"}).text
    assert 'src="graphiql/assets/' in html
    assert not any(mark in html for mark in ('="/', "://"))


@pytest.mark.parametrize("name", ASSETS)
def test_every_built_file_is_served_packed_and_kept_for_good(demo: Demo, name: str) -> None:
    plain = httpx.get(f"{demo.url}/graphiql/assets/{name}", headers={"Accept-Encoding": "identity"})
    packed = httpx.get(f"{demo.url}/graphiql/assets/{name}", headers={"Accept-Encoding": "gzip"})
    assert plain.content == packed.content == (served.BUILT / "assets" / name).read_bytes()
    assert "content-encoding" not in plain.headers
    assert len(plain.content) < 1025 or packed.headers["content-encoding"] == "gzip"
    assert "immutable" in plain.headers["cache-control"]
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert plain.headers["content-type"] == packed.headers["content-type"]


@pytest.mark.parametrize(
    "name", ["..%2findex.html", "%2e%2e", "absent.js", f"{ASSETS[-1]}.gz", "x%00.js", f"{'x' * 300}.js"]
)
def test_nothing_beside_the_built_files_is_served(demo: Demo, name: str) -> None:
    assert httpx.get(f"{demo.url}/graphiql/assets/{name}").status_code == 404


@pytest.mark.parametrize("part", ["bytes=0-9", "bytes=9-0", "bytes=999999999-", "nothing"])
def test_whoever_asks_for_a_part_of_a_file_gets_the_whole(demo: Demo, part: str) -> None:
    address = f"{demo.url}/graphiql/assets/{ASSETS[0]}"
    whole, answer = (httpx.get(address, headers=headers) for headers in ({}, {"range": part}))
    assert (answer.status_code, answer.content) == (200, whole.content)


def test_what_is_packed_is_what_is_not_packed() -> None:
    packed = list((served.BUILT / "assets").glob("*.gz"))
    assert packed
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()


async def open_alone(media_url: str = "") -> httpx.Response:
    async def answer(_: Request) -> Response:
        return await served.page(media_url)

    transport = httpx.ASGITransport(Starlette(routes=[Route("/graphql", answer)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.get("/graphql")


@pytest.mark.anyio
async def test_pictures_from_another_origin_are_allowed_by_the_media_url_alone() -> None:
    elsewhere = (await open_alone("https://media.example/folder")).headers["content-security-policy"]
    assert "img-src 'self' data: blob: https://media.example;" in elsewhere
    here = (await open_alone("/media")).headers["content-security-policy"]
    assert "img-src 'self' data: blob:;" in here


@pytest.mark.anyio
async def test_a_page_that_was_not_built_tells_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(served, "BUILT", tmp_path)
    answer = await open_alone()
    assert answer.status_code == 503
    assert "npm run build" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
