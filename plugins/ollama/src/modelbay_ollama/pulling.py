"""Pull and create: streams of progress in which ``success`` alone is a success (trap 27)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from modelbay.client.http import open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendError,
    InvalidRequestError,
    ModelbayError,
    ModelNotFoundError,
    StreamInterruptedError,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Create, Done, ManageEvent, Progress, Pull
from modelbay.wire.lines import LineDecoder
from modelbay_ollama.answers import Tags, find_listed
from modelbay_ollama.asking import Refusal, ask, at, raise_explained
from modelbay_ollama.discovery import TAGS
from modelbay_ollama.failures import decode_error, is_half, reported
from modelbay_ollama.memory import memory
from modelbay_ollama.names import pulled_as, require_name
from modelbay_ollama.options import options

SUCCESS = "success"
# Later layers are not known yet when the first ones are there, so it is not over at 100 %.
ALMOST = 0.99
_AGAIN = "ask for it again; what has come is kept"

_CREATE_FIELDS = frozenset(
    {
        *("from", "files", "adapters", "template", "system", "license", "parameters", "messages"),
        *("quantize", "renderer", "parser", "requires", "info"),
    }
)


class _Line(msgspec.Struct):
    """``total`` and ``completed`` are left out while they are 0."""

    status: str = ""
    digest: str | None = None
    total: int | None = None
    completed: int | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Line).decode


@dataclass(slots=True)
class _Layer:
    done: int = 0
    total: int = 0


class Transfer:
    """The lines of a pull to progress over the bytes of the whole. Pure.

    Layers come one after the other, and the size of a later one is not known before it begins; a
    failed piece makes a layer's count go down, and its last line may lack a little. Nothing of that
    is seen outside: neither bytes nor fraction ever fall.

    Attributes:
        finished: The server has said that it is done.
    """

    def __init__(self) -> None:
        self.finished = False
        self._layers: dict[str, _Layer] = {}
        self._current: str | None = None
        self._fraction = 0.0
        self._done = 0

    def feed(self, data: bytes) -> Progress | None:
        """The progress a line tells of.

        Raises:
            ProtocolError: It is no line of a transfer.
            BackendError: It is an error.
        """
        if self.finished or not data.strip():
            return None
        try:
            line = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise decode_error(data, exc, begun=False, partial="") from exc
        if line.error and bytes(line.error) not in (b"null", b'""'):
            raise reported(data, begun=False, partial="")
        if line.status == SUCCESS:
            self.finished = True
        if line.digest != self._current:
            self._complete()
            self._current = line.digest
        if line.digest is not None and line.total:
            layer = self._layers.setdefault(line.digest, _Layer())
            layer.total = max(layer.total, line.total)
            layer.done = min(layer.total, max(layer.done, line.completed or 0))
        return self._progress(line.status)

    def _complete(self) -> None:
        """The next thing has begun, so the one before is there."""
        layer = self._layers.get(self._current or "")
        if layer is not None:
            layer.done = layer.total

    def _progress(self, status: str) -> Progress:
        total = sum(layer.total for layer in self._layers.values())
        self._done = max(self._done, sum(layer.done for layer in self._layers.values()))
        if total:
            self._fraction = max(self._fraction, min(ALMOST, self._done / total))
        if self.finished:
            self._fraction = 1.0
        return Progress(
            status=status,
            fraction=self._fraction if total or self.finished else None,
            done_bytes=self._done if total else None,
            total_bytes=total or None,
        )


async def pull(provider: ProviderContext, action: Pull) -> AsyncIterator[ManageEvent]:
    """Download a model; one that was begun before goes on where it ended.

    Closing this stream closes the connection, which is how a download is called off: the server
    keeps what has come, and stops unless somebody else pulls the same.

    Raises:
        InvalidRequestError: The name is none.
        ModelNotFoundError: The registry has no such model or tag.
        StreamInterruptedError: The server ended the stream without a word.
        BackendError: It failed; the message has the server's words.
    """
    require_name(provider, action.model)
    before = await _digest(provider, action.model)
    body: JsonObject = {"model": action.model, "name": action.model, "stream": True}
    events = _transfer(provider, "api/pull", body, action.model)
    async with closing(events):
        async for event in events:
            yield event
    after = await _digest(provider, action.model)
    yield Done(message=f"{action.model} is there", changed=before is None or before != after)


async def create(provider: ProviderContext, action: Create) -> AsyncIterator[ManageEvent]:
    """Make a model of another one, in the words of a Modelfile.

    ``options`` holds ``from`` and what is to differ: ``system``, ``template``, ``parameters``,
    ``messages``, ``quantize``, ... A ``from`` that is not installed is pulled first.

    Raises:
        InvalidRequestError: A field is unknown or of the wrong type, or there is no ``from``.
    """
    require_name(provider, action.model, sources=False)
    body: JsonObject = {"model": action.model, "name": action.model, "stream": True}
    for name, value in action.options.items():
        if name not in _CREATE_FIELDS:
            raise InvalidRequestError(
                f"a model has no '{name}'",
                provider_id=provider.id,
                hint=f"known: {', '.join(sorted(_CREATE_FIELDS))}",
                stage="encode",
            )
        if name == "parameters":
            if not isinstance(value, dict):
                raise InvalidRequestError("parameters must be an object", stage="encode")
            value = options(value)
        body[name] = value
    if not (body.get("from") or body.get("files")):
        raise InvalidRequestError(
            "a model is made from another one",
            provider_id=provider.id,
            hint='for example {"from": "llama3.2", "system": "Answer in verse."}',
            stage="encode",
        )
    events = _transfer(provider, "api/create", body, action.model)
    async with closing(events):
        async for event in events:
            yield event
    yield Done(message=f"{action.model} is made")


async def _transfer(
    provider: ProviderContext, path: str, body: JsonObject, model: str
) -> AsyncIterator[ManageEvent]:
    transfer, lines, refusal = Transfer(), LineDecoder(), Refusal()
    shown: Progress | None = None
    try:
        async with open_stream(
            provider, "POST", at(provider, path), json=body, own_limits=True
        ) as response:
            await raise_for_status(provider, response, model=model, classify=refusal)
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for line in lines.feed(block):
                        progress = transfer.feed(line)
                        if progress is not None and progress != shown:
                            shown = progress
                            yield progress
            rest = lines.close()
            if not is_half(rest) and (progress := transfer.feed(rest)) is not None:
                yield progress
    except StreamInterruptedError as exc:
        exc.hint = _AGAIN
        provider.sign(exc, model)
        raise
    except BackendError as exc:
        if isinstance(exc, ModelNotFoundError):
            exc.hint = f"check the spelling of '{model}'; names are listed at ollama.com/library"
            provider.sign(exc, model)
            raise
        raise_explained(provider, exc, refusal.body, model)
    if not transfer.finished:
        raise StreamInterruptedError(
            "the server ended the transfer without saying that it succeeded",
            provider_id=provider.id,
            model=model,
            hint=_AGAIN,
        )


async def _digest(provider: ProviderContext, name: str) -> str | None:
    """The digest of an installed model; ``None`` if there is none, or the list cannot be read."""
    try:
        tags = await ask(provider, "GET", TAGS, into=Tags)
    except ModelbayError:
        return None  # the transfer itself will say what is wrong
    entry = find_listed(tags.models or [], pulled_as(name))
    memory(provider).gone(name)  # another file may have come under this name
    return None if entry is None else entry.digest or entry.name
