"""Renew the README's screenshot: python -m tests.screenshot 'http://127.0.0.1:8000/graphql#token=…'"""

import sys
from pathlib import Path

from tests.browser import chromium, graphiql

PICTURE = Path(__file__).parent.parent / "docs" / "graphiql.png"


def main(address: str) -> None:
    with chromium() as browser, graphiql(browser, address) as page:
        page.choose_tab("ListImages")
        if refused := page.run().get("errors"):
            sys.exit(f"no screenshot: {refused[0]['message']}")
        page.page.wait_for_load_state("networkidle")
        page.page.screenshot(path=PICTURE)
    print(f"wrote {PICTURE}")  # noqa: T201  a command says what it did


if __name__ == "__main__":
    main(sys.argv[1])
