"""Where a command gets its answers: the running `crossdock` that holds the directory, or the directory itself.

Both are asked through the HTTP API's own routes, in process in the second case, so a command says the same either way. On Kafka
the second case keeps what it has read in a directory of its own, for the next command.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import httpx

from connectors.api.app import create_api
from streams.cli.catchup import LOOK_S, CatchUpBar
from streams.cli.output import CommandFailed, UserError
from streams.flows.groups import ROLES
from streams.runtime.api_server import SERVER_FILE
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.settings.settings import Settings

STUCK_S = 60.0
_BASE = "http://127.0.0.1"


class Session(Protocol):
    """Something that answers the API's requests."""

    is_remote: bool

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; any status."""
        ...


class Remote:
    """The API of a running crossdock."""

    is_remote = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(30, connect=2), trust_env=False)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request. Raises `CommandFailed` if the server has gone."""
        try:
            return self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise CommandFailed(f"crossdock at {self.url} does not answer: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class Local:
    """The API over a directory nobody else holds, in this process."""

    is_remote = False

    def __init__(self, app: App) -> None:
        self.app = app
        self._api = create_api(app.ports)
        self._runner = asyncio.Runner()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request."""
        return self._runner.run(self._request(method, path, more))

    async def _request(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._api)
        async with httpx.AsyncClient(transport=transport, base_url=_BASE) as client:
            return await client.request(method, path, **more)

    def close(self) -> None:
        """End the event loop."""
        self._runner.close()


@contextlib.contextmanager
def session(settings: Settings, *, may_create: bool = False) -> Iterator[Session]:
    """A session for a command. Raises `UserError` if there is nothing in the directory, and `may_create` is not given."""
    url = running(settings.directory)
    if url is not None:
        with contextlib.closing(Remote(url)) as remote:
            yield remote
        return
    with opened_log(settings, may_create=may_create, directory=beside(settings)) as log:
        app = App(settings, log, roles={"serve"} if settings.is_kafka else ROLES)
        local = Local(app)
        try:
            app.look()
            caught_up(app)
            yield local
        finally:
            local.close()
            app.stop()


def beside(settings: Settings) -> Path:
    """Where a command keeps what it has read from Kafka: what runs on the data directory holds that."""
    return settings.data / "commands"


def caught_up(app: App) -> None:
    """Wait, with a progress bar, until the rows that are kept here are all here. Raises `CommandFailed` if they do not get on."""
    now = app.catching_up()
    if not now.partitions:
        return
    with CatchUpBar() as bar:
        seen, since = now, time.monotonic()
        while (now := app.catching_up()).partitions:
            bar.show(now)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK_S:
                raise CommandFailed(f"The rows do not get here: {now.problem or 'the brokers do not answer'}.")
            time.sleep(LOOK_S)


def running(directory: Path) -> str | None:
    """The address of the crossdock that serves a directory, if one answers."""
    try:
        url = str(json.loads((directory / SERVER_FILE).read_text())["url"])
        httpx.get(f"{url}/healthz", timeout=5, trust_env=False)
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError, httpx.InvalidURL):
        return None
    return url


def ask(source: Session, method: str, path: str, **more: Any) -> httpx.Response:
    """A request whose problem is told in its own words. Raises `UserError` for a 4xx answer, `CommandFailed` for a 5xx one."""
    response = source.request(method, path, **more)
    if response.status_code < 400:
        return response
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{method} {path} answered {response.status_code}"
    raise UserError(detail) if response.status_code < 500 else CommandFailed(detail)


def read(response: httpx.Response) -> Any:
    """A JSON answer with its numbers exact."""
    return json.loads(response.text, parse_float=Decimal)
