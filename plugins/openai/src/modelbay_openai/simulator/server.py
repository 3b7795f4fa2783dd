"""A pretended OpenAI-compatible server.

with OpenAISimulator([SimulatedModel("tiny", answer="Hi.")], personality="vllm") as sim:
    ...  # a client at sim.address
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from modelbay.testing.simulator import Exchange, Simulator
from modelbay_openai.simulator import chat, errors, listing, media
from modelbay_openai.simulator.errors import ApiError, Json
from modelbay_openai.simulator.knobs import Knobs
from modelbay_openai.simulator.model import SimulatedModel
from modelbay_openai.simulator.personalities import PERSONALITIES, Personality
from modelbay_openai.simulator.turn import Turn, read_body, read_turn

Answer = Callable[[Exchange], Awaitable[None]]


class OpenAISimulator(Simulator):
    """One server.

    Args:
        models: What it lists, in this order.
        personality: Which software it pretends to be, by name or as data.
        key: What it wants as a bearer token; ``None`` takes anybody.
        old: LM Studio before 0.4.0, which has the REST API v0 alone.

    Attributes:
        knobs: May be turned while it runs.
        loads: Loads by wire id; only LM Studio loads on demand.
    """

    def __init__(
        self,
        models: Sequence[SimulatedModel],
        personality: str | Personality = "openai",
        *,
        key: str | None = None,
        knobs: Knobs | None = None,
        old: bool = False,
        port: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__(port=port, prefix=prefix)
        self.personality = (
            PERSONALITIES[personality] if isinstance(personality, str) else personality
        )
        self.knobs = knobs or Knobs()
        self.loads: Counter[str] = Counter()
        self._models = {model.id: model for model in models}
        self._loaded = {model.id for model in models if model.loaded}
        self._key = key
        api = self.personality.api
        self._answers("GET", f"{api}/models/{{model...}}", self._retrieve)
        self._answers("GET", f"{api}/models", self._list)  # the younger route of two that match
        self._answers("POST", f"{api}/chat/completions", self._chat)
        self._answers("POST", f"{api}/completions", self._complete)
        self._answers("POST", f"{api}/embeddings", self._embed)
        self._answers("POST", f"{api}/rerank", self._rerank)
        self._answers("POST", f"{api}/images/generations", self._images)
        self._answers("POST", f"{api}/images/edits", self._edit)
        self._native(old=old)

    @property
    def address(self) -> str:
        """The address with the API's path, as clients of OpenAI want it."""
        return f"{self.base_url}{self.personality.api}"

    # before and beside the routes

    async def admit(self, exchange: Exchange) -> bool:
        exchange.headers += self.personality.headers
        path = exchange.request.path.removeprefix(self._prefix)
        is_free = path in ("/", "/health", "/version", "/api/extra/version") or (
            self.personality.open_list and path == f"{self.personality.api}/models"
        )
        if self._key is None or is_free:
            return True
        if exchange.request.headers.get("authorization") == f"Bearer {self._key}":
            return True
        await self._refuse(exchange, ApiError(401, "Incorrect API key.", "invalid_api_key"))
        return False

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        request = exchange.request
        match self.personality.no_route:
            case "lmstudio":
                text = f"Unexpected endpoint or method. ({request.method} {request.path})"
                await exchange.json({"error": text})
            case "fastapi":
                words, status = ("Method Not Allowed", 405) if path_known else ("Not Found", 404)
                await exchange.json({"detail": words}, status)
            case "kobold":
                await exchange.text("Error: KoboldCpp HTTP Server is running, no such page.", 404)
            case _:
                error = ApiError(404, f"Invalid URL ({request.method} {request.path})")
                await self._refuse(exchange, error)

    def _answers(self, method: str, path: str, answer: Answer) -> None:
        async def route(exchange: Exchange) -> None:
            try:
                if method == "POST":
                    self._check_account()
                await answer(exchange)
            except ApiError as error:
                await self._refuse(exchange, error)

        self.route(method, path)(route)

    def _check_account(self) -> None:
        """Raises ApiError: the knobs say so."""
        if self.knobs.balance_empty:
            raise errors.no_money(self.personality)
        if self.knobs.rate_limited_s is not None:
            raise ApiError(
                429,
                "Rate limit reached for requests",
                "rate_limit_exceeded",
                self.knobs.rate_limited_s,
            )
        if self.knobs.overloaded:
            raise ApiError(503, "Server is busy; please try again later.")

    async def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        headers = []
        if error.retry_after_s is not None:
            headers.append(("Retry-After", f"{error.retry_after_s:g}"))
        await exchange.json(errors.body(self.personality, error), error.status, headers)

    def _model(self, name: object) -> SimulatedModel:
        """The model that answers to a name; servers that do not check take their first one.

        Raises:
            ApiError: There is none.
        """
        model = self._models.get(str(name))
        if model is None:
            if self.personality.checks_names or not self._models:
                raise errors.unknown_model(self.personality, str(name))
            model = next(iter(self._models.values()))
        if model.id not in self._loaded:
            self.loads[model.id] += 1
            self._loaded.add(model.id)
        return model

    # the API

    async def _list(self, exchange: Exchange) -> None:
        data = [listing.listed(self.personality, model) for model in self._models.values()]
        await exchange.json({"object": "list", "data": data})

    async def _retrieve(self, exchange: Exchange) -> None:
        model = self._models.get(exchange.params["model"])
        if model is None:
            raise errors.unknown_model(self.personality, exchange.params["model"])
        await exchange.json(listing.listed(self.personality, model))

    async def _chat(self, exchange: Exchange) -> None:
        body = read_body(exchange.request)
        turn = read_turn(self.personality, self._model(body.get("model")), body)
        await chat.answer(exchange, self.personality, self.knobs, turn)

    async def _complete(self, exchange: Exchange) -> None:
        body = read_body(exchange.request)
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise ApiError(400, "prompt is required")
        messages: Json = {"messages": [{"role": "user", "content": prompt}]}
        turn = read_turn(self.personality, self._model(body.get("model")), {**body, **messages})
        turn = replace(turn, thinking="", calls=(), text=turn.model.answer)
        await self._raw(exchange, turn)

    async def _raw(self, exchange: Exchange, turn: Turn) -> None:
        await chat.answer(exchange, self.personality, self.knobs, turn, raw=True)

    async def _embed(self, exchange: Exchange) -> None:
        body = read_body(exchange.request)
        await exchange.json(media.embeddings(self._model(body.get("model")), body))

    async def _rerank(self, exchange: Exchange) -> None:
        body = read_body(exchange.request)
        model = self._model(body.get("model"))
        await exchange.json(media.ranking(self.personality, model, body))

    async def _images(self, exchange: Exchange) -> None:
        body = read_body(exchange.request)
        await exchange.json(media.images(self._model(body.get("model")), body))

    async def _edit(self, exchange: Exchange) -> None:
        """The fields of a form; of the image nothing but that it is there."""
        form = _form(exchange.request.headers.get("content-type", ""), exchange.request.body)
        if "image" not in form:
            raise ApiError(400, "image is required")
        n = str(form.get("n", "1"))
        body: Json = {**form, "n": int(n) if n.isdigit() else 1}
        await exchange.json(media.images(self._model(form.get("model")), body))

    # what only some have

    def _native(self, *, old: bool) -> None:
        """The routes beside the API."""
        match self.personality.name:
            case "vllm":
                self._tells("/version", lambda: {"version": self.personality.version})
                self._answers("GET", "/health", self._health)
            case "sglang":
                self._tells("/get_model_info", self._sglang_model)
                self._tells(
                    "/get_server_info",
                    lambda: {"api_key": self._key, "version": self.personality.version},
                )
                self._answers("GET", "/health", self._health)
            case "lmstudio":
                if not old:
                    self._tells("/api/v1/models", lambda: {"models": self._lm_studio(new=True)})
                self._tells("/api/v0/models", lambda: {"data": self._lm_studio(new=False)})
            case "tabbyapi":
                self._answers("GET", "/v1/model", self._tabby_model)
                self._answers("GET", "/health", self._health)
            case "koboldcpp":
                context = next((m.context for m in self._models.values()), 0)
                self._tells("/api/extra/version", self._kobold_abilities)
                self._tells("/api/extra/true_max_context_length", lambda: {"value": context})

    def _tells(self, path: str, value: Callable[[], object]) -> None:
        async def answer(exchange: Exchange) -> None:
            await exchange.json(value())

        self._answers("GET", path, answer)

    async def _health(self, exchange: Exchange) -> None:
        if self.knobs.loading:
            raise ApiError(503, "the model is being loaded")
        if self.personality.name == "tabbyapi":
            await exchange.json({"status": "healthy", "issues": []})
        else:
            await exchange.send(b"")

    def _sglang_model(self) -> Json:
        model = next(iter(self._models.values()))
        return {
            "model_path": model.id,
            "is_generation": not (model.embeddings or model.rerank),
            "has_image_understanding": model.vision,
            "has_audio_understanding": False,
        }

    def _lm_studio(self, *, new: bool) -> list[Json]:
        shown = listing.lm_studio_v1 if new else listing.lm_studio_v0
        return [shown(m, loaded=m.id in self._loaded) for m in self._models.values()]

    async def _tabby_model(self, exchange: Exchange) -> None:
        model = next((m for m in self._models.values() if m.id in self._loaded), None)
        if model is None:
            raise ApiError(503, "No models are currently loaded.")
        parameters = {"max_seq_len": model.context, "cache_size": model.context}
        entry = listing.listed(self.personality, model)
        await exchange.json({**entry, "parameters": parameters})

    def _kobold_abilities(self) -> Json:
        models = self._models.values()
        return {
            "result": "KoboldCpp",
            "version": self.personality.version,
            "protected": self._key is not None,
            "llm": True,
            "txt2img": any(model.images for model in models),
            "vision": any(model.vision for model in models),
            "audio": False,
            "embeddings": any(model.embeddings for model in models),
        }


def _form(content_type: str, body: bytes) -> Json:
    """The fields of a form; a file is ``True``."""
    boundary = content_type.partition("boundary=")[2].encode()
    found: Json = {}
    for part in body.split(b"--" + boundary)[1:-1] if boundary else ():
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        found[name] = True if b"filename=" in head else content.decode()
    return found
