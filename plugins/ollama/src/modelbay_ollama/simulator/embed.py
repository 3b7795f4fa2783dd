"""Vectors: ``/api/embed`` and the older ``/api/embeddings``."""

import math
import zlib

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator import cloud
from modelbay_ollama.simulator.answer import ApiError, Json, answer_json, read_body
from modelbay_ollama.simulator.generation import options_of, want_for
from modelbay_ollama.simulator.lifetimes import keep_alive_s
from modelbay_ollama.simulator.model import SimulatedModel
from modelbay_ollama.simulator.state import State
from modelbay_ollama.simulator.store import Installed
from modelbay_ollama.simulator.window import draw_ratio

Vector = list[float]

_MISSING = 'model "{sent}" not found, try pulling it first'
_NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"


async def embed(state: State, exchange: Exchange) -> None:
    """``POST /api/embed``."""
    body = read_body(exchange.request, "EmbedRequest")
    texts = _inputs(body.values.get("input"))
    keep = keep_alive_s(body.values.get("keep_alive"))
    truncate, dimensions = body.flag("truncate", True), body.whole("dimensions")
    entry = _target(state, body.model)
    options = options_of(body.record("options"), entry)
    found, tokens = await _vectors(state, exchange, entry, texts, options, keep, truncate)
    if not state.release.since("0.11.11"):
        dimensions = 0
    answer: Json = {
        "model": body.model,
        "embeddings": [_shortened(vector, dimensions) for vector in found],
    }
    if found:
        answer |= {"total_duration": 14_143_917, "load_duration": 1_019_500}
        answer["prompt_eval_count"] = tokens
    await answer_json(exchange, answer)


async def embeddings(state: State, exchange: Exchange) -> None:
    """``POST /api/embeddings``: one text, not normalised."""
    body = read_body(exchange.request, "EmbeddingRequest")
    keep = keep_alive_s(body.values.get("keep_alive"))
    if not body.model:
        raise ApiError(400, "model is required")
    entry = _target(state, body.model)
    options = options_of(body.record("options"), entry)
    texts = [body.text("prompt")] if body.text("prompt") else []
    found, _ = await _vectors(state, exchange, entry, texts, options, keep, True)
    await answer_json(exchange, {"embedding": [x * 7.5 for x in found[0]] if found else []})


async def openai_vectors(
    state: State, exchange: Exchange, model: str, given: object, dimensions: int
) -> tuple[list[Vector], int]:
    """For ``/v1/embeddings``: the vectors and the tokens of all inputs."""
    entry = _target(state, model)
    texts = _inputs(given)
    found, tokens = await _vectors(state, exchange, entry, texts, options_of({}, entry), None, True)
    return [_shortened(vector, dimensions) for vector in found], tokens


def vector_of(model: SimulatedModel, text: str) -> Vector:
    """A unit vector that follows from the text: equal texts are equal, similar ones are near."""
    words = text.casefold().split() or [text]
    sums = [0.0] * model.embed_len
    for word in words:
        for at in range(model.embed_len):
            sums[at] += zlib.crc32(f"{model.weights_id}/{word}/{at}".encode()) / 2**31 - 1.0
    return _normalised(sums)


def _target(state: State, sent: str) -> Installed:
    entry, base, _ = state.store.wanted(sent, state.release, _MISSING)
    if entry is None or entry.model.remote is not None:
        return cloud.inference_target(state, base, entry).entry
    return entry


def _inputs(given: object) -> list[str]:
    """The texts; none for nothing, which only loads.

    Raises:
        ApiError: 400.
    """
    match given:
        case None | "" | []:
            return []
        case str():
            return [given]
        case list() if all(isinstance(item, str) for item in given):
            return given
    raise ApiError(400, "invalid input type")


async def _vectors(
    state: State,
    exchange: Exchange,
    entry: Installed,
    texts: list[str],
    options: Json,
    keep: float | None,
    truncate: bool,
) -> tuple[list[Vector], int]:
    want = want_for(state, entry, options, keep, None)
    async with state.runners.use(exchange, want):
        if not entry.model.can("embedding") and texts:
            raise ApiError(501, _NO_EMBEDDINGS)
        tokens = 0
        for text in texts:
            ratio = draw_ratio(state.knobs, state.seed, [{"role": "user", "content": text}])
            count = ratio.overhead + ratio.text(text)
            if count > want.window and not truncate:
                raise ApiError(400, "the input length exceeds the context length")
            tokens += min(count, want.window)
        return [vector_of(entry.model, text) for text in texts], tokens


def _shortened(vector: Vector, dimensions: int) -> Vector:
    if not 0 < dimensions < len(vector):
        return vector
    return _normalised(vector[:dimensions])


def _normalised(vector: Vector) -> Vector:
    size = math.sqrt(math.fsum(x * x for x in vector))
    return [x / size for x in vector] if size else vector
