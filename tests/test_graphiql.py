"""GraphiQL as a person meets it: the real page in a real browser, against the demo."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx
import pytest
from graphql import FieldNode, OperationDefinitionNode, build_schema, parse, validate
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_server.http import graphiql as served
from tests.browser import GraphiQL, chromium, graphiql
from tests.photos import photo as photographed
from tests.servers import Server

PROJECT = Path(__file__).parent.parent
ASSETS = sorted(path.name for path in (served.BUILT / "assets").glob("*") if path.suffix != ".gz")


class Demo(Protocol):
    url: str
    token: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def address(demo: Demo) -> str:
    return f"{demo.url}/graphql#token={demo.token}"


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[GraphiQL]:
    with graphiql(browser, address) as opened:
        yield opened
        assert opened.complaints == []  # what breaks the policy or is not found shows here


def photo(name: str, width: int = 64) -> dict[str, Any]:
    """Take a photo that lies on its side: its upper edge, which is red, is at the right."""
    picture = Image.new("RGB", (width, 48), "white")
    ImageDraw.Draw(picture).rectangle((width - 9, 0, width, 48), fill="red")
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": packed.getvalue()}


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


def test_no_request_leaves_the_server_whatever_is_opened(page: GraphiQL, demo: Demo) -> None:
    page.run()
    page.show("Documentation Explorer")
    page.page.locator(".graphiql-plugin").get_by_text("Query", exact=True).first.click()
    page.page.locator(".graphiql-plugin").get_by_text("untrained").wait_for()
    page.show("GraphiQL Explorer")
    page.page.locator(".docExplorerWrap").get_by_text("datasets").first.wait_for()
    page.show("Files")
    page.page.get_by_role("button", name="Prettify query").click()
    page.page.wait_for_load_state("networkidle")
    assert any(url.endswith(".js") for url in page.requests)
    assert [url for url in page.requests if not url.startswith((demo.url, "data:", "blob:", "about:"))] == []


def test_the_token_goes_from_the_address_into_the_headers_outlives_a_reload_and_is_stored_nowhere(
    page: GraphiQL, demo: Demo
) -> None:
    assert page.page.url == f"{demo.url}/graphql"
    assert page.page.evaluate("history.length") == 2  # the blank page and this one
    for tab in ("ListDatasets", "ListImages", "SaveFix"):
        page.choose_tab(tab)
        page.press_run()
    page.write("{ untrained { title } }", "")
    assert page.run()["data"]["untrained"]["title"] == "untrained"
    page.page.wait_for_timeout(1000)  # GraphiQL stores its tabs half a second later
    page.page.wait_for_function("JSON.stringify(localStorage).includes('ListDatasets')")
    page.page.reload()
    page.page.wait_for_selector(".graphiql-query-editor .view-line")
    page.write("{ untrained { title } }", "")
    assert page.run()["data"]["untrained"]["title"] == "untrained"
    assert demo.token not in page.stored()


def test_without_a_token_the_page_works_and_the_server_refuses(browser: Browser, demo: Demo) -> None:
    with graphiql(browser, f"{demo.url}/graphql") as page:
        page.press_run()
        page.page.locator(".graphiql-response").get_by_text("UNAUTHENTICATED").wait_for()


@pytest.mark.parametrize(
    ("tab", "field"),
    [
        ("ListDatasets", "datasets"),
        ("ListImages", "images"),
        ("OneDataset", "dataset"),
        ("OneImage", "image"),
        ("Untrained", "untrained"),
        ("Node", "node"),
        ("Nodes", "nodes"),
    ],
)
def test_the_examples_that_read_run_as_they_are(page: GraphiQL, tab: str, field: str) -> None:
    page.choose_tab(tab)
    answer = page.run()
    assert "errors" not in answer
    assert answer["data"][field]


def test_there_is_an_example_for_every_call_and_each_fits_the_schema() -> None:
    schema = build_schema((PROJECT / "schema.graphql").read_text(encoding="utf-8"), assume_valid=True)
    roots = [root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root]
    calls = {name for root in roots for name in root.fields if not name.startswith("_")}
    shown: set[str] = set()
    for path in sorted((PROJECT / "graphiql" / "source" / "examples").glob("*.graphql")):
        document = parse(path.read_text(encoding="utf-8"))
        assert validate(schema, document) == [], path.name
        (operation,) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        shown |= {field.name.value for field in operation.selection_set.selections if isinstance(field, FieldNode)}
    assert shown == calls


def test_what_is_put_off_is_shown_with_the_rest(page: GraphiQL) -> None:
    page.write("query Later { untrained { ... @defer { title } images(first: 0) { nodes @stream { pk } } } }", "")
    assert page.run()["data"] == {"untrained": {"title": "untrained", "images": {"nodes": []}}}


def test_the_explorer_puts_an_operation_together_by_clicks(page: GraphiQL) -> None:
    page.write("query Clicked { untrained { pk } }", "")
    page.show("GraphiQL Explorer")
    page.page.locator(".docExplorerWrap").get_by_text("title", exact=True).click()
    data = page.run()["data"]
    assert data == {"untrained": {"pk": data["untrained"]["pk"], "title": "untrained"}}


@pytest.mark.parametrize(("tab", "code"), [("CreateDataset", "BAD_USER_INPUT"), ("RemoveImage", "NOT_FOUND")])
def test_the_examples_that_cannot_be_undone_change_nothing_by_a_careless_click(
    page: GraphiQL, tab: str, code: str
) -> None:
    page.choose_tab(tab)
    assert [error["extensions"]["code"] for error in page.run()["errors"]] == [code]


def test_an_upload_without_a_photo_is_not_sent_and_says_what_to_do(page: GraphiQL, demo: Demo) -> None:
    page.choose_tab("SaveFix")
    asked = page.requests.count(f"{demo.url}/graphql")
    page.press_run()
    page.page.locator(".graphiql-response").get_by_text('choose in the panel \\"Files\\"').wait_for()
    assert page.requests.count(f"{demo.url}/graphql") == asked


def test_a_chosen_photo_is_saved_and_shown_upright(page: GraphiQL, demo: Demo) -> None:
    page.choose_tab("SaveFix")
    page.show("Files")
    page.choose_files(photo("떡볶이.png"))
    page.page.locator(".files li").get_by_text("떡볶이.png").wait_for()
    image = page.run()["data"]["saveFix"]["image"]
    assert image["originalFileName"] == "떡볶이.png"
    assert image["uprightDegree"] == 90
    shown = page.page.locator(".pictures li")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text(f"#{image['pk']} 떡볶이.png")
    expect(shown.locator("img")).to_have_js_property("naturalWidth", 64)
    assert red_edge(shown.locator("div").screenshot()) == "top"


def red_edge(screenshot: bytes) -> str:
    """Where the photo's red edge is on the screen."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    red = [
        (x / picture.width - 0.5, y / picture.height - 0.5)
        for x in range(picture.width)
        for y in range(picture.height)
        if is_red(picture.getpixel((x, y)))
    ]
    across, down = (sum(values) / len(red) for values in zip(*red, strict=True))
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "top" if down < 0 else "bottom"


def is_red(pixel: Any) -> bool:
    red, green, blue = pixel
    return red > 200 and green < 60 and blue < 60


def test_several_photos_fill_several_nulls_in_order_and_their_number_must_agree(page: GraphiQL) -> None:
    image = "image { originalFileName width }"
    query = f"mutation ($inputs: [SaveFixInput!]!) {{ saveFixes(inputs: $inputs) {{ {image} }} }}"
    fix = {"file": None, "modelDegree": 0, "confidence": 0.5, "userFixDegree": 0}
    page.write(query, json.dumps({"inputs": [fix, fix]}))
    page.show("Files")
    page.choose_files(photo("one.png", 50))
    page.press_run()
    page.page.locator(".graphiql-response").get_by_text("errors").wait_for()
    assert "This operation sends 2 photos" in page.result()
    page.choose_files(photo("one.png", 50), photo("two.png", 60))
    saved = [item["image"] for item in page.run()["data"]["saveFixes"]]
    assert [(image["originalFileName"], image["width"]) for image in saved] == [
        ("one.png", 50),
        ("two.png", 60),
    ]


def test_a_photo_can_be_left_out_again(page: GraphiQL) -> None:
    page.show("Files")
    page.choose_files(photo("one.png"), photo("two.png"))
    page.page.get_by_role("button", name="Leave one.png out").click()
    expect(page.page.locator(".files li span")).to_have_text(["two.png 1 kB"])


def test_a_subscription_shows_what_is_saved_until_it_is_stopped(page: GraphiQL, demo: Server) -> None:
    page.choose_tab("ImageSaved")
    shown = page.page.locator(".graphiql-response")
    with page.page.expect_response(lambda response: response.request.method == "POST") as response:
        page.press_run()
    assert response.value.headers["content-type"] == "text/event-stream"
    for number in range(20):  # what is saved before the server listens for it is not shown
        demo.save(photographed(), f"live-{number}.jpg")
        if shown.get_by_text("live-").count():
            break
        page.page.wait_for_timeout(300)
    expect(shown).to_contain_text("live-")
    expect(page.page.locator(".pictures li")).to_have_count(1)
    page.page.get_by_role("button", name="Stop query").click()
    page.page.get_by_role("button", name="Execute query").wait_for()


def test_the_pictures_of_a_result_go_with_it(page: GraphiQL) -> None:
    answer = page.run()
    images = [image for dataset in answer["data"]["datasets"]["nodes"] for image in dataset["images"]["nodes"]]
    assert images
    expect(page.page.locator(".pictures li")).to_have_count(len(images))
    page.choose_tab("Node")
    page.run()
    expect(page.page.locator(".pictures li")).to_have_count(0)


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_the_page_follows_the_light_or_dark_of_the_system(
    browser: Browser, address: str, scheme: Literal["light", "dark"], *, bright: bool
) -> None:
    with graphiql(browser, address, scheme) as page:
        brightness = Image.open(io.BytesIO(page.page.screenshot())).convert("L").tobytes()
        assert (sum(brightness) / len(brightness) > 128) == bright
        assert page.page.locator(".graphiql-tabs").evaluate("tabs => tabs.scrollWidth <= tabs.clientWidth")
        assert page.complaints == []


@pytest.mark.parametrize("folder", ["bench/peers", "examples", "graphiql"])
def test_the_lock_files_pin_every_package_and_name_no_registry(folder: str) -> None:
    lock = json.loads((PROJECT / folder / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
    manifest = json.loads((PROJECT / folder / "package.json").read_text())
    pinned = manifest["dependencies"] | manifest.get("devDependencies", {})
    assert all(version == packages[f"node_modules/{name}"]["version"] for name, version in pinned.items())
