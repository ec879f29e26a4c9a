"""Connections of the delivering agents: httpx over aiohttp's, which cost a fraction of its own for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL

KEPT_S = 4.0  # less than the five seconds after which common servers close a connection nobody uses


class Connections(httpx.AsyncBaseTransport):
    """A transport. Made and used in one event loop; `aclose` closes all connections."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S, ssl=httpx.create_ssl_context(trust_env=False))
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it. Raises `httpx.TransportError`."""
        waits = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=waits.get("connect"), sock_read=waits.get("read"))
        content = await request.aread()
        try:
            with _as_httpx(request):
                answer = await self._session.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=list(request.headers.multi_items()),
                    data=content or None,
                    allow_redirects=False,
                    timeout=timeout,
                )
        except ValueError as error:  # of our own making: a line break in a header, a character that no header can have
            raise httpx.LocalProtocolError(str(error), request=request) from error
        return httpx.Response(answer.status, headers=list(answer.raw_headers), stream=_Body(answer, request))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        """Give the connection back, if all of the answer has been read."""
        self._answer.release()


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """What went wrong, in httpx's terms."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error), request=request) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=request) from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol(str(error), request=request) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error
