"""The files that install, build and deploy the server agree with the code."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from graphql_server.settings import Settings

PROJECT = Path(__file__).parent.parent
MAKEFILE = (PROJECT / "Makefile").read_text()
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
NGINX = (PROJECT / "deploy" / "nginx.conf").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
OURS = [service for service in SERVICES.values() if service["image"] == "dataset-server"]

SETTINGS = {field.name.upper() for field in dataclasses.fields(Settings)}
# What the images read that are not ours, and the demo's user server.
KNOWN = {
    "MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD",
    "DEMO_TOKEN", "PATH", "PYTHONUNBUFFERED",
}  # fmt: skip

NEW_KEY = "Zk3vQ8xLwN5tRb1YpHs7Ce9UgJm2AfDo"
OLD_KEY = "p0OiU7yTr6EwQ5aSd4FgH3jKl2ZxC1vB"


def image_environment() -> dict[str, str]:
    (line,) = re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)
    return dict(re.findall(r'(\w+)="?([^" ]*)"?', line))


def filled(text: str) -> str:
    """Put what compose would put for ${NAME:?hint} and ${NAME:-default}."""
    text = re.sub(r"\$\{MEDIA_SIGNING_KEY:\?[^}]*\}", f"{NEW_KEY},{OLD_KEY}", text)
    text = re.sub(r"\$\{\w+:\?[^}]*\}", "5f2c8e1b7d3a", text)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def commands() -> set[str]:
    """Every command of graphql-server that the Makefile, the image and compose.yaml call."""
    called = set(re.findall(r"graphql-server ([a-z-]+)", MAKEFILE))
    called |= set(re.findall(r'^CMD \["([^"]+)"\]$', DOCKERFILE, re.MULTILINE))
    return called | {service["command"][0] for service in OURS}


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_that_is_called_exists(command: str) -> None:
    asked = [sys.executable, "-m", "graphql_server", command, "--help"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert command in answer.stdout


def test_commands_are_called_in_all_three_places() -> None:
    assert {"demo", "schema", "serve", "migrate", "demo-users"} <= commands()


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_in_compose_is_a_setting_or_known(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= SETTINGS | KNOWN


def test_every_variable_of_the_image_is_a_setting_or_known() -> None:
    assert set(image_environment()) <= SETTINGS | KNOWN


@pytest.mark.parametrize("name", ["migrate", "server"])
def test_the_server_accepts_its_settings_from_compose(name: str) -> None:
    service = SERVICES[name]
    sent = {key: filled(value) for key, value in service["environment"].items()}
    settings = Settings.from_environment(image_environment() | sent)
    assert settings.host == "0.0.0.0"
    assert str(settings.media_root) == service["volumes"][0].partition(":")[2]
    assert settings.media_signing_key == (NEW_KEY, OLD_KEY)
    assert settings.workers > 1


def test_no_secret_has_a_default() -> None:
    text = (PROJECT / "compose.yaml").read_text()
    for name in ("MYSQL_PASSWORD", "MEDIA_SIGNING_KEY", "DEMO_TOKEN"):
        uses = re.findall(r"\$\{" + name + r"[^}]*\}", text)
        assert uses
        assert all(use.startswith("${" + name + ":?make one with: openssl rand ") for use in uses)


def test_the_ports_agree() -> None:
    port = image_environment()["PORT"]
    assert re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE) == [port]
    assert f"server server:{port};" in NGINX
    (published,) = SERVICES["nginx"]["ports"]
    assert f"listen {published.rpartition(':')[2]};" in NGINX
    assert all("ports" not in service for name, service in SERVICES.items() if name != "nginx")
    users = SERVICES["users"]["command"][-1]
    assert SERVICES["users"]["command"] == ["demo-users", "--port", users]
    assert f"('127.0.0.1', {users})" in SERVICES["users"]["healthcheck"]["test"][-1]
    assert f"http://users:{users}/authenticate" == filled(SERVICES["server"]["environment"]["USER_SERVER_URL"])


def test_requests_in_flight_may_finish_before_a_container_is_killed() -> None:
    allowed = int(SERVICES["server"]["environment"]["SHUTDOWN_SECONDS"])
    assert seconds(SERVICES["server"]["stop_grace_period"]) > allowed
    assert seconds(SERVICES["nginx"]["stop_grace_period"]) > allowed


def test_the_server_starts_after_the_migrations_and_nginx_after_the_server() -> None:
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    assert waits["migrate"] == {"mysql": "service_healthy"}
    assert waits["server"]["migrate"] == "service_completed_successfully"
    assert waits["nginx"] == {"server": "service_healthy"}


def test_containers_run_unprivileged_and_write_only_where_they_must() -> None:
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE, re.MULTILINE)
    for service in [*OURS, SERVICES["nginx"]]:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert "media:/srv/media:ro" in SERVICES["nginx"]["volumes"]


def test_the_image_is_built_from_locked_packages_and_named_versions() -> None:
    for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)
    installs = re.findall(r"pip (?:install|wheel) (?:--no-cache-dir )?(\S+)", DOCKERFILE)
    assert installs
    assert set(installs) <= {"--require-hashes", "--no-index"}


def test_the_image_gets_every_file_that_it_copies() -> None:
    allowed = {line.removeprefix("!") for line in (PROJECT / ".dockerignore").read_text().splitlines()}
    for sources in re.findall(r"^COPY ((?!--from).+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (PROJECT / source).exists()
            assert source in allowed


@pytest.mark.parametrize("name", ["run", "test", "build", "node", "tools"])
def test_every_locked_package_has_one_version_and_hashes_and_no_host(name: str) -> None:
    text = (PROJECT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    pins = re.findall(r"^(\S+)==(\S+).*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.MULTILINE))


def test_nginx_lets_through_what_the_server_would_take() -> None:
    (limit,) = re.findall(r"client_max_body_size (\d+)m;", NGINX)
    assert int(limit) * 1024 * 1024 > Settings.max_request_bytes > Settings.max_upload_bytes


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
