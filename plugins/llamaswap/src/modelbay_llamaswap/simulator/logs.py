"""The logs: a ring of text for llama-swap itself, for all children, for each child."""

import asyncio

_KEPT = 100 * 1024  # bytes


class Follower:
    """Somebody who reads a log live; what is too much for him is dropped and said to be."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self._waiting: list[str] = []
        self._size = 0
        self._dropped = 0

    def feed(self, text: str) -> None:
        if self._size + len(text) > _KEPT:
            self._dropped += len(text.encode())
        else:
            self._waiting.append(text)
            self._size += len(text)
        self.arrived.set()

    def take(self) -> str:
        """All that came since the last time."""
        lost = f"\u2014 {self._dropped} bytes dropped \u2014\n" if self._dropped else ""
        text = "".join(self._waiting) + lost
        self._waiting, self._size, self._dropped = [], 0, 0
        self.arrived.clear()
        return text


class Log:
    """One log."""

    def __init__(self) -> None:
        self._text = ""
        self._followers: set[Follower] = set()

    @property
    def history(self) -> str:
        return self._text

    def write(self, text: str) -> None:
        self._text = (self._text + text)[-_KEPT:]
        for follower in self._followers:
            follower.feed(text)

    def follow(self) -> Follower:
        follower = Follower()
        self._followers.add(follower)
        return follower

    def unfollow(self, follower: Follower) -> None:
        self._followers.discard(follower)
