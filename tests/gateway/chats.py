"""A streamed chat in each of the three protocols, as bytes: what is sent, what the lines say."""

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Protocol:
    """One of them.

    Attributes:
        path: Where its chats go.
        is_events: Its streams are server-sent events; else a JSON document in each line.
    """

    name: str
    path: str
    is_events: bool = True

    def body(self, model: str, text: str, *, stream: bool = True) -> Json:
        limit = {"max_tokens": 4096} if self.name == "anthropic" else {}
        messages = [{"role": "user", "content": text}]
        return {"model": model, "messages": messages, "stream": stream, **limit}

    def document(self, line: str) -> Json | None:
        """The JSON in a line of a stream, if there is any."""
        if self.is_events:
            if not line.startswith("data: ") or line == "data: [DONE]":
                return None
            line = line.removeprefix("data: ")
        found: Json | None = json.loads(line) if line else None
        return found

    def said(self, document: Json) -> str:
        """The piece of the answer's text in it."""
        match self.name:
            case "openai":
                choices = document.get("choices") or [{"delta": {}}]
                piece = choices[0]["delta"].get("content")
            case "anthropic":
                piece = document.get("delta", {}).get("text")
            case _:
                piece = document.get("message", {}).get("content")
        return str(piece or "")

    def is_whole(self, document: Json) -> bool:
        """It says that the answer is at its end."""
        match self.name:
            case "openai":
                return any(choice["finish_reason"] for choice in document.get("choices", ()))
            case "anthropic":
                return bool(document["type"] == "message_stop")
            case _:
                return document.get("done") is True


PROTOCOLS = (
    Protocol("openai", "/v1/chat/completions"),
    Protocol("anthropic", "/v1/messages"),
    Protocol("ollama", "/api/chat", is_events=False),
)
