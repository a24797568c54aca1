"""Listens: takes the port, starts the workers, and answers until it is told to stop."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from graphql_server import logs
from graphql_server.app import check_operations, create_app, media_app, opened
from graphql_server.environment import utf8, web_address
from graphql_server.errors import SettingsError
from graphql_server.http.inlet import OPTIONS
from graphql_server.settings import Settings, setting

if TYPE_CHECKING:
    from graphql_server.traces import Tracing

# A worker that does not answer its supervisor for so long is replaced. A busy machine may need more than uvicorn's
# five seconds to import what a worker consists of, and then none would ever start.
WORKER_SECONDS = 30
# After so long, one that could not start is tried again, if others serve meanwhile.
RETRY_SECONDS = 10.0
# The standard's variables; what is said of traces alone goes before.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

log = structlog.stdlib.get_logger(__name__)


def serve(environ: Mapping[str, str]) -> int:
    """Serve in production until SIGTERM; SettingsError where something that is needed is missing or wrong."""
    settings = Settings.from_environment(environ)
    logs.configure(settings.log_format, settings.log_level)
    tracing = traced(environ)
    if tracing:
        tracing.check()
    check_operations(settings)
    asyncio.run(_try(settings))
    for host, port in settings.metrics_addresses:
        _listener(host, port, "METRICS").close()
    return listen(
        "graphql_server.serving:production",
        settings.host,
        settings.port,
        factory=True,
        workers=settings.workers,
        # Only spans tell what a proxy's headers say, and to read them is a layer around each request.
        proxy_headers=tracing is not None,
        shutdown_seconds=settings.shutdown_seconds,
    )


def production() -> ASGIApp:
    """The application of one worker, by the environment."""
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_format, settings.log_level)
    calm_collector()
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    tracing = traced(os.environ)
    return create_app(settings, tracing=tracing() if tracing else None, checked=True).entry


def _end_with_supervisor() -> None:
    """Stop once there is no supervisor any more: nobody else would say so, and nobody could start a server anew."""
    if supervisor := parent_process():
        supervisor.join()
        log.error("supervisor died", pid=supervisor.pid)
        os.kill(os.getpid(), signal.SIGTERM)


def traced(environ: Mapping[str, str]) -> "type[Tracing] | None":
    """What makes spans, if OpenTelemetry's own variables ask for any; SettingsError where it cannot."""
    endpoint, protocol = (next(filter(environ.get, names), None) for names in (ENDPOINTS, PROTOCOLS))
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if endpoint is None or off:
        return None
    if protocol and environ[protocol] != "http/protobuf":
        raise SettingsError(f"{protocol}: only http/protobuf is spoken")
    try:
        web_address(utf8(environ[endpoint]))
    except ValueError as error:
        raise SettingsError(f"{endpoint} {error}") from None
    try:
        from graphql_server.traces import Tracing  # noqa: PLC0415 - it takes OpenTelemetry, which need not be installed
    except ImportError:
        raise SettingsError(f"{endpoint}: install dataset-server[otel]") from None
    except ValueError as error:  # It reads some of its variables where it is imported.
        raise SettingsError(f"OpenTelemetry: {error}") from None
    return Tracing


def calm_collector() -> None:
    """Keep Python's garbage collector from holding the event loop for 100 milliseconds while a long answer is made.

    What is imported lives as long as the process and need not be looked through. What an answer consists of is freed
    without the collector, which is only needed for reference cycles.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def serve_media(environ: Mapping[str, str], port: int, *, plain: bool) -> int:
    """Serve the media folder alone; `plain` asks for no signatures and so needs no key."""
    keys = () if plain else setting("media_signing_key", environ)
    logs.configure(setting("log_format", environ), setting("log_level", environ))
    root: Path = setting("media_root", environ)
    if not root.is_dir():
        raise SettingsError(f"MEDIA_ROOT={str(root)!r} is no folder")
    seconds = setting("shutdown_seconds", environ)
    host = setting("host", environ)
    return listen(media_app(root, keys), host, port, shutdown_seconds=seconds, chosen_by="--port or HOST")


async def _try(settings: Settings) -> None:
    """Open and close everything once: what is wrong is told before anything listens."""
    async with opened(settings):
        pass


def listen(
    app: ASGIApp | str,
    host: str,
    port: int,
    *,
    shutdown_seconds: int,
    ready: Callable[[], None] = lambda: None,
    chosen_by: str = "PORT or HOST",
    **options: Any,
) -> int:
    """Run the application on a port; gives the exit status. SettingsError where the port is taken.

    `ready` is called once the port is ours; `chosen_by` names what the operator chooses it by.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        server_header=False,
        timeout_graceful_shutdown=shutdown_seconds,
        timeout_worker_healthcheck=WORKER_SECONDS,
        **OPTIONS,
        **options,
    )
    with _listener(host, port, chosen_by) as listener:
        ready()
        log.info("listening", address=f"http://{host_and_port(host, port)}", workers=config.workers)
        server = uvicorn.Server(config)
        if config.workers > 1:
            return Workers(config, sockets=[listener]).serve()
        # When it has stopped, uvicorn sends itself the signal again, which would be its end and no exit.
        signal.signal(signal.SIGTERM, _exit)
        server.run(sockets=[listener])
    return 0 if server.started else 1


class Workers(Multiprocess):
    """uvicorn's supervisor, which by itself hardly mentions a death, and ends all workers where one cannot start."""

    _retry = 0.0  # when those that could not start are tried again

    def serve(self) -> int:
        """Keep the workers running until SIGTERM; gives the exit status."""
        self.run()
        return 1 if any(worker.exitcode == STARTUP_FAILURE for worker in self.processes) else 0

    def keep_subprocess_alive(self) -> None:
        if self.should_exit.is_set():
            return
        self._set_aside()
        if time.monotonic() >= self._retry:
            while len(self.processes) < self.processes_num:
                self.processes.append(Process(self.config, self.sockets))
                self.processes[-1].start()
        for worker in self.processes:
            # While there is a copy of a worker's end here, one that dies when it is asked is waited for in vain.
            worker.child_conn.close()
        before = list(self.processes)
        super().keep_subprocess_alive()
        if self.should_exit.is_set() and self._set_aside():
            self.should_exit.clear()  # It failed just now, and uvicorn would end all others.
        for worker in before:
            if worker not in self.processes and worker.exitcode != STARTUP_FAILURE:
                # A negative status is the signal that ended it; -9 is often the kernel's, for want of memory.
                log.error("worker died and was replaced", pid=worker.pid, status=worker.exitcode)

    def terminate_all(self) -> None:
        super().terminate_all()
        for listener in self.sockets:
            listener.close()  # The kernel would go on to take connections, which nobody answers.

    def _set_aside(self) -> bool:
        """Do without workers that cannot start, as while the database is away; but only where others do."""
        failed = [worker for worker in self.processes if worker.exitcode == STARTUP_FAILURE]
        others = [worker for worker in self.processes if worker not in failed]
        if not failed or not any(worker.wait_until_ready(WORKER_SECONDS) for worker in others):
            return False
        self.processes, self._retry = others, time.monotonic() + RETRY_SECONDS
        log.error("worker cannot start", pids=[worker.pid for worker in failed], again_in_seconds=RETRY_SECONDS)
        return True


def _exit(_signal: int, _frame: object) -> None:
    sys.exit(0)


def host_and_port(host: str, port: int) -> str:
    """A host and its port as they stand in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener(host: str, port: int, chosen_by: str) -> socket.socket:
    address = host_and_port(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, to = found[0]
        return _bound(socket.socket(family, kind, protocol), to)
    except UnicodeError:
        raise SettingsError(f"Cannot listen on {address}: this is no host name; choose another {chosen_by}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"Cannot listen on {address}: {reason}; choose another {chosen_by}") from None


def _bound(listener: socket.socket, address: Any) -> socket.socket:
    try:
        # Without SO_REUSEPORT: a second server on the same port fails instead of taking half of the requests.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener
