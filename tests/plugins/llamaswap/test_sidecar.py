"""Mirrors modelbay_llamaswap/sidecar.py: one resolver, for every sort of call."""

from collections.abc import Iterator

import pytest

from modelbay.errors import AuthenticationError, BackendUnreachableError
from modelbay.models.events import Finish, ReasoningDelta
from modelbay.models.manage import Health
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay.testing.conformance.ports import dead_url
from modelbay_llamaswap.sidecar import credentials, endpoint
from plugins.llamaswap.bay import OpenBay, ask, statuses
from plugins.llamaswap.serving import LOADED, LOADING, SAID, Scripted, process

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


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({}, "Bearer sk-base"),  # another port is the same host
        ({"sidecarUrl": "http://localhost:{port}"}, None),
        ({"sidecarUrl": "http://me:pw@127.0.0.1:{port}"}, "Basic bWU6cHc="),
        ({"sidecarApiKeyEnv": "SIDE_KEY"}, "Bearer sk-side"),
        (
            {"sidecarApiKeyEnv": "SIDE_KEY", "sidecarUrl": "http://localhost:{port}"},
            "Bearer sk-side",
        ),
        ({"sidecarApiKeyEnv": "NOT_SET"}, None),
    ],
)
async def test_a_sidecar_gets_its_own_key_or_that_of_the_same_host(
    bay: OpenBay, base: Scripted, side: Scripted, config: dict[str, str], sent: str | None
) -> None:
    address = config.get("sidecarUrl", "http://127.0.0.1:{port}").format(port=side.port)
    fields: dict[str, object] = {**config, "sidecarUrl": address, "apiKey": "sk-base"}
    desk = bay(base.base_url, headers={"X-Team": "blue"}, **fields)
    desk.context.resources.env["SIDE_KEY"] = "sk-side\n"
    await desk.chat(ask(routing={"agent"}))
    await desk.manage(Health())

    team = "blue" if sent == "Bearer sk-base" else None
    assert {r.headers.get("authorization") for r in base.requests} == {"Bearer sk-base"}
    assert [r.path for r in side.requests] == ["/v1/chat/completions", "/v1/models"]
    for request in side.requests:
        assert (request.headers.get("authorization"), request.headers.get("x-team")) == (sent, team)


@pytest.mark.parametrize(
    ("own", "other", "anonymous"),
    [
        ("https://box", "http://box:1", True),  # the key would be sent in clear
        ("https://box", "https://box:1", False),
        ("http://box/v1", "https://BOX", False),
        ("http://box", "http://box.test", True),
    ],
)
async def test_what_is_the_same_host(bay: OpenBay, own: str, other: str, anonymous: bool) -> None:
    assert credentials(bay(own, sidecarUrl=other).context, other).anonymous == anonymous


async def test_a_sidecar_s_key_is_in_no_error(bay: OpenBay, base: Scripted, side: Scripted) -> None:
    side.answer("/v1/chat/completions", "wrong key sk-side", 401)
    desk = bay(base.base_url, sidecarUrl=side.base_url, sidecarApiKeyEnv="SIDE_KEY")
    desk.context.resources.env["SIDE_KEY"] = "sk-side"
    with pytest.raises(AuthenticationError) as caught:
        await desk.chat(ask(routing={"agent"}))

    assert str(caught.value) == "wrong key *** (HTTP 401)"
    assert "sk-side" not in repr(endpoint(desk.context, ask(routing={"agent"})))


async def test_what_a_sidecar_sends_is_never_taken_for_loading_text(
    bay: OpenBay, base: Scripted, side: Scripted
) -> None:
    side.stream = LOADING + LOADED + SAID
    events = await bay(base.base_url, sidecarUrl=side.base_url).chat(ask(routing={"agent"}))

    assert "llama-swap loading model: tiny" in "".join(
        event.text for event in events if isinstance(event, ReasoningDelta)
    )
    assert statuses(events) == []


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
