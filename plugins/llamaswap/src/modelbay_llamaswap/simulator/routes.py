"""The route table: methods and paths, and in which versions they are there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

Kind = Literal["model", "own"]
_EVER = 10**6


@dataclass(frozen=True, slots=True)
class Entry:
    """One route.

    Attributes:
        path: ``{x}`` is one part, ``{x...}`` at the end is all the rest.
        since, until: The first version with it, and the first one without it.
        public: No key is needed.
        cut: What is taken off the path before the child is asked.
    """

    method: str
    path: str
    kind: Kind
    since: int = 0
    until: int = _EVER
    public: bool = False
    cut: str = ""

    def match(self, raw_path: str) -> dict[str, str] | None:
        """Values of the ``{x}``, percent-decoded; None if the path is another."""
        want, have = self.path.split("/"), raw_path.split("/")
        found: dict[str, str] = {}
        for at, part in enumerate(want):
            if part.endswith("...}"):
                rest = "/".join(have[at:])
                found[part[1:-4]] = unquote(rest)
                return found if len(have) > at else None
            if at >= len(have):
                return None
            if part.startswith("{"):
                if not have[at]:
                    return None
                found[part[1:-1]] = unquote(have[at])
            elif part != unquote(have[at]):
                return None
        return found if len(have) == len(want) else None


def _routed() -> Iterator[Entry]:
    posts = {
        "/v1/chat/completions": 0,
        "/v1/completions": 0,
        "/v1/embeddings": 0,
        "/v1/responses": 182,
        "/v1/messages": 175,
        "/v1/messages/count_tokens": 186,
        "/rerank": 143,
        "/v1/rerank": 143,
        "/reranking": 143,
        "/v1/reranking": 143,
        "/infill": 155,
        "/completion": 156,
        "/v1/audio/speech": 0,
        "/v1/audio/voices": 181,
        "/v1/audio/transcriptions": 94,
        "/v1/images/generations": 180,
        "/v1/images/edits": 181,
        "/sdapi/v1/txt2img": 199,
        "/sdapi/v1/img2img": 199,
    }
    for path, since in posts.items():
        yield Entry("POST", path, "model", since)
    for path in (
        *("/v/chat/completions", "/v/responses", "/v/completions", "/v/messages"),
        *("/v/messages/count_tokens", "/v/embeddings", "/v/rerank", "/v/reranking"),
    ):
        yield Entry("POST", path, "model", 212, cut="/v")
    yield Entry("POST", "/audioapi/v1/tasks/run", "model", 250, cut="/audioapi")
    yield Entry("GET", "/v1/audio/voices", "model", 181)
    yield Entry("GET", "/sdapi/v1/loras", "model", 199)
    yield Entry("GET", "/props", "model", 234)


def _own() -> Iterator[Entry]:
    yield Entry("GET", "/v1/models", "own")
    yield Entry("GET", "/models", "own", 250)
    yield Entry("GET", "/running", "own", 94)
    yield Entry("GET", "/unload", "own", 91)
    yield Entry("POST", "/api/models/unload", "own", 126)
    yield Entry("POST", "/api/models/unload/{id...}", "own", 161)
    yield Entry("GET", "/upstream", "own", public=True)
    yield Entry("ANY", "/upstream/{rest...}", "own")
    yield Entry("ANY", "/comfyui", "own", 249)
    yield Entry("ANY", "/comfyui/{rest...}", "own", 249)
    yield Entry("GET", "/api/events", "own", 135)
    yield Entry("GET", "/api/version", "own", 173)
    yield Entry("GET", "/api/metrics", "own", 140, 236)
    yield Entry("GET", "/api/metrics/activity", "own", 236)
    yield Entry("GET", "/api/metrics/stats", "own", 236)
    yield Entry("GET", "/api/captures/{id}", "own", 190)
    yield Entry("POST", "/api/inflight/{id}/cancel", "own", 235)
    yield Entry("GET", "/api/performance", "own", 212)
    yield Entry("GET", "/metrics", "own", 212, 225, public=True)
    yield Entry("GET", "/metrics", "own", 225)
    yield Entry("GET", "/api/profiles", "own", 241)
    yield Entry("PUT", "/api/profiles/active", "own", 241)
    yield Entry("GET", "/api/hardware", "own", 247)
    yield Entry("GET", "/logs", "own")
    yield Entry("GET", "/logs/stream", "own")
    yield Entry("GET", "/logs/stream/{id...}", "own")
    yield Entry("GET", "/health", "own", 145, public=True)
    yield Entry("GET", "/wol-health", "own", 167, public=True)
    yield Entry("GET", "/", "own", public=True)
    yield Entry("GET", "/favicon.ico", "own", public=True)
    yield Entry("GET", "/ui", "own", 0, 225, public=True)
    yield Entry("GET", "/ui/{rest...}", "own", 0, 225, public=True)
    yield Entry("GET", "/ui", "own", 225)
    yield Entry("GET", "/ui/{rest...}", "own", 225)


TABLE = (*_routed(), *_own())


def find(number: int, raw_path: str) -> list[tuple[Entry, dict[str, str]]]:
    """All routes of a version that match a path, whatever their method."""
    return [
        (entry, params)
        for entry in TABLE
        if entry.since <= number < entry.until and (params := entry.match(raw_path)) is not None
    ]
