"""Mirrors modelbay_llamaswap/sidecar.py: one resolver, for every sort of call."""

from collections.abc import Iterator

import pytest

from modelbay.errors import BackendUnreachableError
from modelbay.models.events import Finish
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay.testing.conformance.ports import dead_url
from modelbay_llamaswap.sidecar import endpoint
from plugins.llamaswap.bay import OpenBay, ask
from plugins.llamaswap.serving import Scripted, process

pytestmark = pytest.mark.anyio

# flags of the request, the provider's sidecarFlags, whether it has a sidecar -> served by it
TABLE = [
    (set(), None, True, False),
    ({"agent"}, None, True, True),
    ({"agent"}, None, False, False),
    ({"other"}, None, True, False),
    ({"other", "agent"}, None, True, True),
    ({"other"}, ["other"], True, True),
    ({"agent"}, ["other"], True, False),
    ({"agent"}, [], True, False),
    (set(), None, False, False),
]


@pytest.fixture
def base() -> Iterator[Scripted]:
    with Scripted(running=[process("tiny")]) as sim:
        yield sim


@pytest.fixture
def side() -> Iterator[Scripted]:
    with Scripted() as sim:
        yield sim


def chats(sim: Scripted) -> int:
    return sum(request.path == "/v1/chat/completions" for request in sim.requests)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("flags", "declared", "has_sidecar", "aside"), TABLE)
async def test_flags_and_provider_together_decide_in_both_modes(
    bay: OpenBay,
    base: Scripted,
    side: Scripted,
    flags: set[str],
    declared: list[str] | None,
    has_sidecar: bool,
    aside: bool,
    stream: bool,
) -> None:
    """S0-16, S0-40, S0-41, S0-43."""
    config: dict[str, object] = {} if declared is None else {"sidecarFlags": declared}
    if has_sidecar:
        config["sidecarUrl"] = side.base_url
    events = await bay(base.base_url, **config).chat(ask(routing=flags, stream=stream))

    served_by = (side if aside else base).base_url
    assert (chats(base), chats(side)) == ((0, 1) if aside else (1, 0))
    assert isinstance(events[-1], Finish)
    assert events[-1].endpoint == (served_by if has_sidecar else None)


async def test_a_sidecar_that_is_down_is_an_error_and_never_replaced(
    bay: OpenBay, base: Scripted
) -> None:
    """S0-16: opt-in, and no fallback in either direction."""
    desk = bay(base.base_url, sidecarUrl=dead_url())
    with pytest.raises(BackendUnreachableError) as caught:
        await desk.chat(ask(routing={"agent"}))

    assert chats(base) == 0
    assert caught.value.message.startswith("cannot reach the sidecar of provider 'desk'")


async def test_nothing_is_said_of_swaps_for_the_sidecar(
    bay: OpenBay, base: Scripted, side: Scripted
) -> None:
    base.running = []
    desk = bay(base.base_url, sidecarUrl=side.base_url, pollS=0.01)
    events = await desk.chat(ask(routing={"agent"}))

    assert [event.type for event in events] == ["text", "text", "finish"]
    assert base.polls == 1  # discovery's


@pytest.mark.parametrize(
    "request_",
    [
        EmbedRequest(input=["a"]),
        ImageRequest(prompt="a"),
        RerankRequest(query="a", documents=["b"]),
        CompleteRequest(prompt="a"),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_what_has_no_flags_goes_to_the_base(bay: OpenBay, request_: EmbedRequest) -> None:
    place = endpoint(bay("http://a/v1", sidecarUrl="http://b").context, request_)

    assert (place.root, place.is_sidecar) == ("http://a", False)


async def test_an_address_is_shown_without_user_and_password(bay: OpenBay) -> None:
    desk = bay("http://me:pass@a", sidecarUrl="http://you:word@b")

    assert endpoint(desk.context, ask()).shown == "http://a"
    assert endpoint(desk.context, ask(routing={"agent"})).shown == "http://b"


async def test_the_key_goes_to_the_sidecar_too(
    bay: OpenBay, base: Scripted, side: Scripted
) -> None:
    desk = bay(base.base_url, sidecarUrl=side.base_url, apiKey="sk-1234")
    await desk.chat(ask(routing={"agent"}))

    assert side.requests[-1].headers["authorization"] == "Bearer sk-1234"
