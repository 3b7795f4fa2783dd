"""A pretended Quill server on a real loopback socket."""

from modelbay.testing.simulator import Exchange, Simulator

SAYS = "Hello from Quill, which has been asked to write a little more than usual."
MUSING = "How shall I begin?"
PENS = ("goose", "raven", "fountain")
PIECE = 5


class QuillSimulator(Simulator):
    """``goose`` writes its answer, ``raven`` muses first, ``fountain`` never stops."""

    def __init__(self, answer: str = SAYS, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.answer = answer
        self.wet = {"goose"}
        self.dipped = 0
        self.route("GET", "/shelf")(self._shelf)
        self.route("PUT", "/shelf/{pen}/{state}")(self._put)
        self.route("POST", "/write")(self._write)

    async def _shelf(self, exchange: Exchange) -> None:
        lines = [f"{pen};4096;{'wet' if pen in self.wet else 'dry'}\n" for pen in PENS]
        await exchange.send(f"pen;span;state\n{''.join(lines)}".encode(), 200, "text/csv")

    async def _put(self, exchange: Exchange) -> None:
        pen, wet = exchange.params["pen"], exchange.params["state"] == "wet"
        if pen not in PENS:
            await exchange.text("no such pen", 404)
            return
        changed = wet != (pen in self.wet)
        self.wet ^= {pen} if changed else set()
        self.dipped += wet and changed
        await exchange.text("done" if changed else "already")

    async def _write(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        assert isinstance(body, dict)
        if body["pen"] not in PENS:
            await exchange.text("no such pen", 404)
            return
        if body["pen"] not in self.wet:
            self.wet.add(body["pen"])
            self.dipped += 1
        await exchange.start_stream("application/x-quill")
        if body["pen"] == "raven":
            await exchange.raw(frame("M", MUSING))
        piece = len(self.answer) if body["whole"] else PIECE
        for at in range(0, len(self.answer), piece):
            await exchange.raw(frame("W", self.answer[at : at + piece]))
        while body["pen"] == "fountain":
            await exchange.raw(frame("-", "") + frame("W", "more "))
            await exchange.sleep(0.01)
        await exchange.raw(frame("E", "dry 6 15"))


def frame(letter: str, text: str) -> bytes:
    """One frame of the wire."""
    data = text.encode()
    return b"%b %08x\n%b" % (letter.encode(), len(data), data)


def demo(port: int = 7171) -> QuillSimulator:
    """For ``modelbay fake quill``."""
    return QuillSimulator(port=port)
