"""GraphiQL as a person meets it: the real page in a real browser, against the demo."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from graphql import FieldNode, OperationDefinitionNode, build_schema, parse, validate
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, expect

from tests.browser import Demo, GraphiQL, chromium, graphiql
from tests.photos import photo as photographed
from tests.servers import Server

PROJECT = Path(__file__).parent.parent


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


def test_the_examples_that_read_run_as_they_are(page: GraphiQL) -> None:
    examples = {
        "ListDatasets": "datasets",
        "ListImages": "images",
        "OneDataset": "dataset",
        "OneImage": "image",
        "Untrained": "untrained",
        "Node": "node",
        "Nodes": "nodes",
    }
    for tab, field in examples.items():
        page.choose_tab(tab)
        answer = page.run()
        assert "errors" not in answer, tab
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
