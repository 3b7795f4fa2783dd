"""Models that run elsewhere: stubs, ``:cloud`` names, and the account."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator.answer import ApiError, Json, answer_json
from modelbay_ollama.simulator.generation import Frames, generating_remotely
from modelbay_ollama.simulator.model import Remote, SimulatedModel
from modelbay_ollama.simulator.state import State
from modelbay_ollama.simulator.store import Installed
from modelbay_ollama.simulator.turn import Turn

SIGNIN_URL = "https://ollama.com/connect?name=simulator&key=c2ltdWxhdGVk"


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """A model of the cloud, as a request reaches it.

    Attributes:
        stub: Through an installed stub; otherwise its bytes pass through untouched.
        marks: What a stub adds to every line.
    """

    entry: Installed
    base: str
    stub: bool
    marks: Json

    def generating(
        self, state: State, exchange: Exchange, turn: Turn
    ) -> AbstractAsyncContextManager[Frames]:
        return generating_remotely(state, exchange, turn, self.entry, self.base)


def inference_target(state: State, base: str, stub: Installed | None) -> RemoteTarget:
    """The model to ask.

    Args:
        stub: The installed one; None for a name that says itself that it is the cloud's.

    Raises:
        ApiError: 400 for a host that is not allowed, 403, 401, or what the cloud refuses with.
    """
    remote = stub.model.remote if stub is not None else None
    if remote is not None and urlsplit(remote.host).hostname not in state.knobs.remotes:
        raise ApiError(400, "this server cannot run this remote model")
    check_access(state, "remote inference is unavailable")
    entry = state.in_cloud(remote.model if remote is not None else base)
    if entry is None and stub is not None:
        entry = stub
    if entry is None:
        raise ApiError(404, f"model '{base}' not found")
    if remote is None:
        return RemoteTarget(entry, base, False, {})
    return RemoteTarget(entry, base, True, _marks(remote))


def check_access(state: State, what: str) -> None:
    """Whether the cloud may be asked; `what`: the end of the text when it is switched off.

    Raises:
        ApiError: 403 switched off, 401 not signed in, or the refusal a test has set.
    """
    knobs = state.knobs
    if knobs.cloud_disabled:
        raise ApiError(403, f"ollama cloud is disabled: {what}")
    if not knobs.signed_in:
        more = {"signin_url": SIGNIN_URL} if state.release.since("0.12.1") else {}
        raise ApiError(401, "unauthorized", **more)
    if knobs.cloud_refusal is not None:
        raise ApiError(*knobs.cloud_refusal)


def stub_of(model: SimulatedModel, name: str) -> SimulatedModel:
    """What pulling a cloud model leaves on the disk: a manifest of a few hundred bytes."""
    return SimulatedModel(
        name,
        capabilities=model.capabilities,
        family=model.family,
        parameter_size=model.parameter_size,
        quantization=model.quantization,
        format="",
        size_bytes=384,
        trained_ctx=model.trained_ctx,
        answer=model.answer,
        remote=Remote(model.name),
    )


def _marks(remote: Remote) -> Json:
    return {"remote_model": remote.model, "remote_host": remote.host}


# the account


async def status(state: State, exchange: Exchange) -> None:
    """``GET /api/status``."""
    disabled = state.knobs.cloud_disabled
    source = "env" if disabled else "none"
    await answer_json(exchange, {"cloud": {"disabled": disabled, "source": source}})


async def me(state: State, exchange: Exchange) -> None:
    """``POST /api/me``."""
    if not state.knobs.signed_in:
        more = {"signin_url": SIGNIN_URL} if state.release.since("0.12.1") else {}
        raise ApiError(401, "unauthorized", **more)
    account = {
        "id": "00000000-0000-4000-8000-000000000001",
        "email": "sam@example.com",
        "name": "sam",
        "plan": "free",
    }
    await answer_json(exchange, account)


async def signout(state: State, exchange: Exchange) -> None:
    """``POST /api/signout``."""
    if not state.knobs.signed_in:
        raise ApiError(401, "you are not currently signed in")
    state.knobs.signed_in = False
    await answer_json(exchange, None)
