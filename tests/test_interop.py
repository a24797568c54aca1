"""The short cut of `make interop`: one composer, three clients, and the audits of the protocol."""

import csv
import re
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.clients import NAMES, assert_at_home, served, told
from tests.interop.live import assert_follows
from tests.interop.programs import EXAMPLES, NODE, SDL, fails, node, run
from tests.processes import PROJECT
from tests.rows import put_images, serving, untrained_pk
from tests.servers import TOKEN


def test_the_schema_composes_with_subgraphs_that_refer_to_it() -> None:
    others = ("users=gateway/users.graphql", "models=gateway/models.graphql")
    composed = node("tools/compose.mjs", "apollo", f"datasets={SDL}", *others)
    assert (composed["errors"], composed["hints"]) == ([], [])
    assert "savedBy: User" in composed["supergraph"]


def test_apollo_client_asks_pages_saves_and_reads_codes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        assert_at_home(node("clients/apollo-client.ts", settings=told(server, tmp_path)))


def test_a_dataset_is_downloaded_to_its_end_and_what_was_cut_off_is_fetched_again(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stored = {f"{uuid4()}.jpg": f"photo {number}".encode() for number in range(1001)}
    names, folder = list(stored), tmp_path / "lunch"
    with serving("sqlite", request, tmp_path) as server:
        pk = untrained_pk(server)
        put_images(server, pk, [{"uuid_file_name": name, "model_degree": 90, "user_fix_degree": 180} for name in names])
        (server.settings.media_root / f"{pk}").mkdir()
        for name, content in stored.items():
            (server.settings.media_root / f"{pk}" / name).write_bytes(content)
        command = [sys.executable, EXAMPLES / "clients" / "download.py", f"{pk}", folder]
        run(command, told(server, tmp_path))
        (folder / names[-1]).unlink()
        (folder / names[-1]).with_suffix(".part").write_bytes(b"pho")
        run(command, told(server, tmp_path))
    assert {path.name: path.read_bytes() for path in folder.glob("*.jpg")} == stored
    with (folder / "labels.csv").open(newline="") as labels:
        assert list(csv.reader(labels)) == [["file", "upright_degree"], *([name, "270"] for name in names)]
    assert len(list(folder.iterdir())) == len(stored) + 1


def test_apollo_client_shows_what_is_put_off_when_it_comes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        seen = node("clients/apollo-parts.ts", settings=told(server, tmp_path))
    assert seen == {"datasets": [[["untrained", "later"]], [["untrained", 5]]], "lengths": [3, 8], "names": NAMES}


def test_apollo_client_sends_a_document_that_is_not_known_by_its_hash_and_then_the_hash_alone(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path) as server:
        seen = node("clients/persisted/apollo-automatic.ts", settings=told(server, tmp_path))
    again = ["hash 400", "POST hash and document 200", "hash 200"]
    assert seen["sent"] == [f"{method} {one}" if one[0] == "h" else one for method in ("POST", "GET") for one in again]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("program", ["graphql-ws.ts", "apollo-multipart.ts"])
def test_a_client_follows_misses_nothing_and_ends_with_its_token(
    program: str, database_url: str, media_root: Path
) -> None:
    assert_follows(program, database_url, media_root)


def test_the_readme_of_the_examples_names_each_of_them() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    helpers = {"settings.ts", "persisted", "persisted/watched.ts", "live", "live/changes.ts"}
    clients = EXAMPLES / "clients"
    found = [*clients.iterdir(), *(clients / "persisted").iterdir(), *(clients / "live").iterdir()]
    programs = {str(path.relative_to(clients)) for path in found} - helpers
    assert len(programs) > 8
    assert [name for name in programs if f"(clients/{name}" not in readme] == []


def test_what_the_readme_of_the_examples_shows_is_in_them() -> None:
    shown = re.findall(r"^```ts\n(.*?)^```", (EXAMPLES / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    programs = "".join(path.read_text() for path in (EXAMPLES / "clients" / "live").iterdir())
    assert len(shown) == 4
    assert [code for code in shown if code not in programs] == []


def test_every_audit_of_graphql_over_http_passes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        audits = node("tools/audits.mjs", f"{server.url}/graphql", settings={"TOKEN": TOKEN})
    assert len(audits) > 60
    assert [audit for audit in audits if audit["status"] != "ok"] == []


def changes(tmp_path: Path, new: str, changelog: str = "## 2.0\n\n- Nothing.\n") -> list[str | Path]:
    """The command that compares the schema with a new one."""
    (tmp_path / "new.graphql").write_text(new)
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    return [NODE, "tools/changes.mjs", SDL, tmp_path / "new.graphql", tmp_path / "CHANGELOG.md"]


def test_the_schema_breaks_no_promise_that_the_changelog_does_not_tell() -> None:
    assert run([NODE, "tools/changes.mjs", PROJECT / "schema.released.graphql", SDL, PROJECT / "CHANGELOG.md"]) == ""


@pytest.mark.parametrize(
    ("was", "becomes", "path"),
    [
        ("  savedBy: User\n", "  savedByUser: User\n", "Image.savedBy"),
        ("  url: String!", "  url: String", "Image.url"),
        ("    first: Int\n", "    first: Int!\n", "Dataset.images.first"),
        ("  REJECT\n", "  REFUSE\n", "OnDuplicate.REJECT"),
        ('type Image implements Node @key(fields: "id") @', "type Image implements Node @", "Image.@key"),
        ("type PageInfo @shareable", "type PageInfo", "PageInfo.@shareable"),
    ],
)
def test_a_breaking_change_is_told_by_the_newest_part_of_the_changelog(
    tmp_path: Path, was: str, becomes: str, path: str
) -> None:
    new = SDL.read_text().replace(was, becomes, 1)
    told = f"- Breaking: what was said of\n  `{path}` is true no more.\n"
    for changelog in ("## 2.0\n\n- Nothing.\n", f"## 2.0\n\n- `{path}`\n", f"## 2.0\n\n- Nothing.\n\n## 1.0\n\n{told}"):
        assert f"- Breaking: `{path}`" in fails(changes(tmp_path, new, changelog))
    assert run(changes(tmp_path, new, f"# Changelog\n\n## 2.0\n\n- Nothing.\n{told}\n## 1.0\n")) == ""


def test_what_is_added_breaks_nothing(tmp_path: Path) -> None:
    new = SDL.read_text().replace("  savedBy: User\n", "  savedBy: User\n  tags: [String!]!\n", 1)
    assert run(changes(tmp_path, new)) == ""
