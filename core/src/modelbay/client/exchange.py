"""One request and the head of its answer, over connections of our own."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Self

from modelbay.client.connection import ConnectionBrokenError, NotHttpError
from modelbay.client.pool import ConnectTimeoutError, UnreachableError
from modelbay.deadline import Watchdog
from modelbay.errors import (
    BackendError,
    BackendUnreachableError,
    ProtocolError,
    StreamInterruptedError,
)

if TYPE_CHECKING:
    from modelbay.context import Answer, Connections, ProviderContext


class OwnResponse:
    """An answer over a connection of our own, and the iterator over its blocks."""

    __slots__ = ("_answer", "_provider", "_watchdog", "headers", "status")

    def __init__(
        self, provider: "ProviderContext", answer: "Answer", watchdog: Watchdog | None
    ) -> None:
        self._provider = provider
        self._answer = answer
        self._watchdog = watchdog
        self.status = answer.status
        self.headers = answer.headers

    def blocks(self) -> AsyncIterator[bytes]:
        require_plain(self._provider, self.headers)
        return self

    @property
    def ended(self) -> bool:
        return self._answer.ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        watchdog = self._watchdog
        try:
            if watchdog is None:
                block = await self._answer.block()
            else:
                with watchdog:
                    block = await self._answer.block()
                watchdog.progress()
        except (ConnectionBrokenError, NotHttpError) as exc:
            raise broken_off(self._provider, exc) from exc
        if not block:
            raise StopAsyncIteration
        return block

    async def close(self) -> None:
        self._answer.close()


def require_plain(provider: "ProviderContext", headers: Mapping[str, str]) -> None:
    if headers.get("content-encoding", "identity") != "identity":
        raise ProtocolError(
            "the answer is compressed although 'identity' was asked for",
            provider_id=provider.id,
            stage="decode",
        )


def broken_off(provider: "ProviderContext", exc: Exception) -> StreamInterruptedError:
    return StreamInterruptedError(
        f"the connection broke off in the middle of the answer ({_reason(exc)})",
        provider_id=provider.id,
    )


async def over_our_own(
    provider: "ProviderContext",
    connections: "Connections",
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    watchdog: Watchdog | None,
) -> OwnResponse:
    try:
        if watchdog is None:
            answer = await connections.request(method, url, headers, content)
        else:
            with watchdog:
                answer = await connections.request(method, url, headers, content)
            watchdog.progress()
    except ValueError:
        # Its words may show what cannot be sent, and that may be the key.
        raise unsendable(provider) from None
    except ConnectTimeoutError as exc:
        raise too_slow(provider) from exc
    except UnreachableError as exc:
        raise unreachable(provider, exc) from exc
    except (ConnectionBrokenError, NotHttpError) as exc:
        raise closed(provider, exc) from exc
    return OwnResponse(provider, answer, watchdog)


def unreachable(provider: "ProviderContext", exc: Exception) -> BackendError:
    """No connection."""
    return _unreachable(provider, _reason(exc))


def unsendable(provider: "ProviderContext") -> BackendError:
    """What is to be sent cannot be."""
    return _unreachable(
        provider, "the key, a header or the address holds a character that cannot be sent"
    )


def _unreachable(provider: "ProviderContext", reason: str) -> BackendError:
    return BackendUnreachableError(
        f"cannot reach {shown(provider.config.base_url)} ({reason})",
        provider_id=provider.id,
        hint=f"is the server of provider '{provider.id}' running? modelbay doctor",
        stage="connect",
    )


def too_slow(provider: "ProviderContext") -> BackendError:
    """No connection in time."""
    return BackendUnreachableError(
        f"no connection to {shown(provider.config.base_url)} in time",
        provider_id=provider.id,
        hint=f"is the server of provider '{provider.id}' running? modelbay doctor",
        stage="connect",
    )


def closed(provider: "ProviderContext", exc: Exception) -> BackendError:
    """The connection ended, or spoke no HTTP, before an answer came."""
    return StreamInterruptedError(
        f"the server closed the connection before it answered ({_reason(exc)})",
        provider_id=provider.id,
    )


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def shown(url: str) -> str:
    """An address without its query and without user and password."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else scheme
