"""How many tokens a prompt has, and what is left of it when it does not fit the window.

A real server tokenises; here every conversation has a ratio of bytes per token of its own, and an
overhead of its own for each message. A client is told neither, so it cannot know more than it could
of a real one.
"""

import json
import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelbay_ollama.simulator.answer import ApiError, Json
from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.model import SimulatedModel
from modelbay_ollama.simulator.options import number_option
from modelbay_ollama.simulator.versions import Release

_TIERS = ((47, 262_144), (23, 32_768), (0, 4_096))  # GiB of GPU memory and the default window
_MIN_WINDOW = 4
_MIN_VISION_WINDOW = 2048
_NUM_KEEP = 4


def effective_window(
    model: SimulatedModel, options: Mapping[str, object], knobs: Knobs, release: Release
) -> int:
    """The window of a runner, in tokens; `options` are the request's over the Modelfile's."""
    wanted = number_option(options, "num_ctx")
    if wanted is None:
        wanted = _server_default(knobs, release)
    least = _MIN_VISION_WINDOW if model.can("vision") else _MIN_WINDOW
    return max(least, min(wanted, model.trained_ctx))


def _server_default(knobs: Knobs, release: Release) -> int:
    if knobs.default_ctx is not None and release.since("0.5.13"):
        return knobs.default_ctx
    if not release.since("0.15.5"):
        return 4096 if release.since("0.6.7") else 2048
    return next(window for gib, window in _TIERS if knobs.gpu_gib >= gib)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one conversation is counted.

    Attributes:
        overhead: Tokens the template adds to each message.
        spread: Relative difference between its messages.
    """

    bytes_per_token: float
    overhead: int
    spread: float = 0.0
    image_tokens: int = 768

    def text(self, text: str) -> int:
        raw = text.encode("utf-8", "replace")
        unlike = random.Random(zlib.crc32(raw)).uniform(-self.spread, self.spread)  # noqa: S311
        return math.ceil(len(raw) / (self.bytes_per_token * (1 + unlike)))


def draw_ratio(knobs: Knobs, seed: int, messages: Sequence[Json]) -> Ratio:
    """The ratio of the conversation that these messages belong to.

    It follows from the first user turn, so that it stays the same while the conversation grows.
    """
    first = next((m for m in messages if m.get("role") == "user"), messages[0] if messages else {})
    if knobs.bytes_per_token is not None:
        return Ratio(knobs.bytes_per_token, 4, knobs.ratio_spread, knobs.image_tokens)
    chance = random.Random(f"{seed}/{_text(first, thinking=False)}")  # noqa: S311 - no secret
    ratio = chance.uniform(knobs.ratio_low, knobs.ratio_high)
    return Ratio(ratio, chance.randint(3, 12), knobs.ratio_spread, knobs.image_tokens)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model sees it.

    Attributes:
        full_tokens: Before anything was left out.
        tokens: Of what is left.
        parts: A mark and the tokens for each part that is left, for the runner's cache.
    """

    messages: Sequence[Json]
    full_tokens: int
    tokens: int
    dropped: int
    parts: Sequence[tuple[int, int]]

    def cached(self, before: Sequence[tuple[int, int]]) -> int:
        """Tokens of the common beginning; at least one is always evaluated."""
        common = 0
        for old, new in zip(before, self.parts, strict=False):
            if old != new:
                break
            common += new[1]
        return min(common, self.tokens - 1)


@dataclass(frozen=True, slots=True)
class Fitting:
    """The rules of one request.

    Attributes:
        path: Of the chat, after what the version allows: see `SimulatedModel`.
    """

    model: SimulatedModel
    release: Release
    path: str
    window: int
    truncate: bool
    shift: bool
    num_keep: int = _NUM_KEEP

    def fit(self, messages: Sequence[Json], tools: Sequence[Json], ratio: Ratio) -> Prompt:
        """Leave out the oldest messages until the rest fits: never a system one, never the last.

        Raises:
            ApiError: 400, where this server refuses instead.
        """
        head = ratio.text(json.dumps(tools, ensure_ascii=False)) if tools else 0
        costs = [self._cost(message, ratio) for message in messages]
        full = tokens = head + sum(costs)
        kept = list(range(len(messages)))
        if full > self.window:
            self._refuse_whole(full)
            for at in range(len(messages) - 1):
                if tokens <= self.window:
                    break
                if messages[at].get("role") != "system":
                    kept.remove(at)
                    tokens -= costs[at]
        left = [messages[at] for at in kept]
        parts = [(_mark(tools), head), *((_mark(messages[at]), costs[at]) for at in kept)]
        if tokens > self.window:
            tokens = self._cut(tokens)
            parts = []
        if self.model.needs_user_turn and not any(m.get("role") == "user" for m in left):
            raise ApiError(500, "no user query found in messages")
        return Prompt(left, full, tokens, len(messages) - len(left), parts)

    def _refuse_whole(self, full: int) -> None:
        if self.model.format == "safetensors":
            raise ApiError(
                400,
                f"input length ({full} tokens) exceeds the model's maximum context length"
                f" ({self.window} tokens)",
            )
        if not self.truncate:
            raise self._too_long(full)

    def _cut(self, tokens: int) -> int:
        """What is left of a last message that is too long by itself."""
        if not self.release.since("0.30.0"):
            return self.window  # the runner cut the middle out until the rest filled the window
        if self.path == "native" or (not self.shift and self.release.since("0.30.9")):
            raise self._too_long(tokens)
        return self.num_keep + (self.window - self.num_keep) // 2 + 1

    def _too_long(self, tokens: int) -> ApiError:
        if self.path == "native":
            text = (
                f"request ({tokens} tokens) exceeds the available context size ({self.window}"
                " tokens), try increasing it"
            )
            inner = {
                "code": 400,
                "message": text,
                "type": "exceed_context_size_error",
                "n_prompt_tokens": tokens,
                "n_ctx": self.window,
            }
            return ApiError(400, json.dumps({"error": inner}, separators=(",", ":")))
        return ApiError(
            400,
            "the prompt is longer than the context length currently available"
            f" ({tokens} > {self.window} tokens)",
        )

    def _cost(self, message: Json, ratio: Ratio) -> int:
        images = message.get("images")
        seen = len(images) if isinstance(images, list) and self.model.can("vision") else 0
        text = _text(message, thinking=self.path != "native")
        return ratio.overhead + ratio.text(text) + seen * ratio.image_tokens


def _text(message: Mapping[str, object], *, thinking: bool) -> str:
    """What of a message reaches the prompt. The native path drops the thinking of history."""
    said = [message.get("thinking") if thinking else "", message.get("content")]
    calls = message.get("tool_calls")
    if calls:
        said.append(json.dumps(calls, ensure_ascii=False))
    return "".join(part for part in said if isinstance(part, str))


def _mark(value: object) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())
