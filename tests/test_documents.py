"""The documents hold to the code: their examples run, their lists are complete."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest

from graphql_server.cli import main
from graphql_server.settings import Settings
from tests.photos import photo
from tests.servers import Server

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
OPERATING = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
# A code stands where an error is given one, or behind a status or a message.
CODE = re.compile(
    r'(?:\bcode(?:(?:: str)? ?=|":)|\b[45]\d\d,|HTTPStatus\.\w+[,:]|coded\(error,|message,)\s*"([A-Z]+(?:_[A-Z]+)*)"'
)
EXAMPLES = re.findall(r"<!-- example: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("name", "command"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_examples_of_the_readme_run_against_the_demo(name: str, command: str, demo: Server, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo(seed=4711))
    command = command.replace("http://127.0.0.1:8000", demo.url)
    ran = subprocess.run(
        ["bash", "-euc", command],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TOKEN": demo.token or ""},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(ran.stdout)
    assert "errors" not in answer
    assert {"query": "datasets", "upload": "saveFix", "seal": "createDataset"}[name] in answer["data"]


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", OPERATING, re.MULTILINE))
    assert list(rows) == [field.name.upper() for field in dataclasses.fields(Settings)]
    for field in dataclasses.fields(Settings):
        default = field.default
        shown = {dataclasses.MISSING: "\N{EN DASH}", False: "off", (): "none", None: "off"}.get(default, str(default))
        if field.name != "decoders":
            assert rows[field.name.upper()].strip() in (shown, f"{default:g}" if isinstance(default, float) else shown)


def test_the_readme_lists_the_codes_of_errors_and_no_others() -> None:
    cells = re.findall(r"^\| ([^|]+) \|", README.partition("| code | meaning |\n|---|---|\n")[2], re.MULTILINE)
    listed = [code for cell in cells for code in re.findall(r"`([A-Z_]+)`", cell)]
    source = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "graphql_server").rglob("*.py"))
    front = (PROJECT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    given = {*CODE.findall(source), *re.findall(r'"code":"([A-Z_]+)"', front)}
    assert len(listed) == len(set(listed))
    assert set(listed) == given


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^ {4}([a-z][a-z-]*)\s", capsys.readouterr().out, re.MULTILINE)
    assert len(commands) >= 7
    assert [name for name in commands if f"| `{name}` |" not in OPERATING] == []
