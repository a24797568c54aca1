"""All photos of a dataset and their labels, for training; run again, it goes on where it was cut off.

GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… python download.py 1 lunch
"""

import csv
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

URL = httpx.URL(os.environ["GRAPHQL_URL"])
IMAGES = """query Images($pk: Int!, $after: String) {
  dataset(pk: $pk) {
    images(first: 1000, after: $after) {
      nodes { uuidFileName uprightDegree url }
      pageInfo { hasNextPage endCursor }
    }
  }
}"""
AT_ONCE = 8


def pages(client: httpx.Client, pk: int) -> Iterator[list[dict[str, Any]]]:
    """The dataset's images, a thousand at a time: their addresses expire, so each page is fetched before the next."""
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
    while page["hasNextPage"]:
        variables = {"pk": pk, "after": page["endCursor"]}
        response = client.post(URL, json={"query": IMAGES, "variables": variables}, headers=headers)
        answer = response.json()
        if "errors" in answer:
            sys.exit(answer["errors"][0]["message"])
        if answer["data"]["dataset"] is None:
            sys.exit(f"There is no dataset {pk}.")
        images = answer["data"]["dataset"]["images"]
        yield images["nodes"]
        page = images["pageInfo"]


def fetch(client: httpx.Client, folder: Path, image: dict[str, Any]) -> None:
    """Fetch a photo, unless it is there already."""
    place = folder / image["uuidFileName"]
    if not place.exists():
        # Under another name until it is whole.
        part = place.with_suffix(".part")
        part.write_bytes(client.get(URL.join(image["url"])).raise_for_status().content)
        part.rename(place)


def main(pk: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    fetched = 0
    with (
        httpx.Client(timeout=60) as client,
        ThreadPoolExecutor(AT_ONCE) as threads,
        (folder / "labels.csv").open("w", newline="") as file,
    ):
        labels = csv.writer(file)
        # With Pillow, a photo stands upright by ImageOps.exif_transpose(photo).rotate(upright_degree, expand=True).
        labels.writerow(["file", "upright_degree"])
        for images in pages(client, pk):
            list(threads.map(lambda image: fetch(client, folder, image), images))
            labels.writerows([image["uuidFileName"], image["uprightDegree"]] for image in images)
            fetched += len(images)
            print(f"{fetched} photos")


main(int(sys.argv[1]), Path(sys.argv[2]))
