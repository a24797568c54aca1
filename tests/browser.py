"""A real browser that opens GraphiQL, and notes every request and every complaint."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PATIENCE = 60_000  # milliseconds, of which a machine that is not busy needs a hundredth
expect.set_options(timeout=PATIENCE)
# It runs as root in a container, and makes no request of its own.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class GraphiQL:
    """The open page; `requests` and `complaints` (console errors, failed requests) grow while it is used."""

    page: Page
    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", self._note_failure)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, address: str) -> None:
        self.page.goto("about:blank")  # two addresses that differ in the fragment only are one page to a browser
        self.page.goto(address)
        self.page.wait_for_selector(".graphiql-query-editor .view-line")
        self.page.wait_for_selector(".graphiql-spinner", state="detached")

    def choose_tab(self, name: str) -> None:
        self.page.click(f".graphiql-tab-button[title={name}]")

    def show(self, panel: str) -> None:
        self.page.get_by_role("button", name=f"Show {panel}").click()

    def choose_files(self, *files: Any) -> None:
        self.page.set_input_files(".files input", files)

    def write(self, query: str, variables: str) -> None:
        """Write an operation into a new tab."""
        self.page.get_by_role("button", name="New tab").click()
        self.page.wait_for_selector(".graphiql-tab-active .graphiql-tab-button[title='<untitled>']")
        for editor, text in ((".graphiql-query-editor", query), (".graphiql-editor-tool", variables)):
            lines = self.page.locator(f"{editor} .monaco-editor:visible").first.locator(".view-lines")
            expect(lines).to_have_text("")  # what is written before the new tab is shown would go to the old one
            lines.click()
            self.page.keyboard.insert_text(text)
            expect(lines).to_contain_text(text.splitlines()[0] if text else "")

    def press_run(self) -> None:
        self.page.get_by_role("button", name="Execute query").click()

    def run(self) -> Any:
        """Run the operation and return the answer that the server gave, as JSON."""
        with self.page.expect_response(lambda response: response.request.method == "POST") as response:
            self.press_run()
        answer = response.value.json()
        self.page.wait_for_selector(".graphiql-spinner", state="detached")
        return answer

    def result(self) -> str:
        """Read what the page shows as the result, so far as it fits the screen."""
        text = self.page.inner_text(".graphiql-response .view-lines")
        return text.replace("\u00a0", " ")

    def stored(self) -> str:
        """All that the page left in the browser, but for the state of its own tab."""
        return self.page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")

    def _note_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a page that is left aborts what it was loading
            self.complaints.append(f"{request.url}: {request.failure}")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@contextmanager
def graphiql(browser: Browser, address: str, color_scheme: Literal["light", "dark"] = "light") -> Generator[GraphiQL]:
    """Open GraphiQL in a browser that remembers nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=color_scheme)
    context.set_default_timeout(PATIENCE)
    opened = GraphiQL(context.new_page())
    opened.open(address)
    yield opened
    context.close()


class Demo(Protocol):
    url: str
    token: str
