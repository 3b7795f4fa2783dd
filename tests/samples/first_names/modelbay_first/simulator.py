"""A pretended First server. Make it as odd as the real one: that is what it is for."""

from modelbay.models.frozen import JsonObject
from modelbay.testing.simulator import Exchange, Simulator

SAYS = "Hello from First, which has been asked to say a little more than usual."
MODELS = ("talker", "endless")
PIECE = 5


class FirstSimulator(Simulator):
    """``talker`` gives its answer to any prompt, ``endless`` goes on until the client leaves."""

    def __init__(self, answer: str = SAYS, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.answer = answer
        self.route("GET", "/api/models")(self._list)
        self.route("POST", "/api/chat")(self._chat)

    async def _list(self, exchange: Exchange) -> None:
        await exchange.json({"models": [{"name": name} for name in MODELS]})

    async def _chat(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        assert isinstance(body, dict)
        last: JsonObject = {"done": "stop", "tokens_in": 5, "tokens_out": len(self.answer)}
        if body["model"] not in MODELS:
            await exchange.json({"error": "no such model"}, 404)
            return
        await exchange.start_stream("application/x-ndjson")
        if body.get("stream") is False:
            await exchange.ndjson({"text": self.answer, **last})
        else:
            for at in range(0, len(self.answer), PIECE):
                await exchange.ndjson({"text": self.answer[at : at + PIECE]})
            while body["model"] == "endless":
                await exchange.ndjson({"text": "more "})
                await exchange.sleep(0.01)
            await exchange.ndjson(last)


def demo(port: int = 7071) -> FirstSimulator:
    """For ``modelbay fake first``."""
    return FirstSimulator(port=port)
