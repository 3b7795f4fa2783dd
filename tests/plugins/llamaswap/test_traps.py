"""The 30 traps of llama-swap: where each is held, the test itself, or why there is none to hold.

The numbers are those of the table in docs/backends/llamaswap.md.
"""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from modelbay.errors import BackendError
from modelbay.models.events import Finish
from modelbay.models.manage import Done, Health, ListModels, Load, Running, Show, Unload
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.simulator import LlamaSwapSimulator, Peer, SimulatedModel
from plugins.llamaswap import (
    test_chat,
    test_discovery,
    test_loading,
    test_loading_text,
    test_management,
    test_media,
    test_swaps,
    test_two,
    test_wire,
)
from plugins.llamaswap.bay import OpenBay, ask, text_of
from plugins.llamaswap.serving import Scripted, entry, process, refused

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[3] / "docs/backends/llamaswap.md"

TRAPS: dict[int, list[tuple[ModuleType, str]] | str] = {
    1: [(test_swaps, "test_a_swap_of_half_a_minute_is_waited_for_and_told")],
    2: [(test_chat, "test_a_stream_without_a_finish_reason_is_an_interruption")],
    3: [(test_chat, "test_a_bare_error_under_200_is_found_and_has_its_class")],
    4: [
        (test_chat, "test_the_loading_text_is_told_and_reaches_neither_reasoning_nor_answer"),
        (test_swaps, "test_what_the_model_thinks_is_kept_apart_from_the_loading_text"),
    ],
    5: [
        (test_loading_text, "test_bars_blanks_and_done_are_no_news"),
        (test_loading, "test_an_answer_of_a_model_that_is_gone_again_is_no_success"),
    ],
    6: [
        (test_chat, "test_a_dead_child_of_a_plain_request_is_an_empty_502"),
        (test_chat, "test_a_request_called_off_at_the_server_is_an_empty_200"),
    ],
    7: [(test_chat, "test_every_version_s_errors_have_their_class")],
    8: [
        (test_discovery, "test_discovery_asks_two_lists_and_never_a_model"),
        (test_management, "test_show_loads_nothing"),
        (test_two, "test_a_look_at_a_hundred_models_starts_none"),
    ],
    9: [
        (test_discovery, "test_running_decides_the_state_and_the_list_s_status_does_not"),
        (test_discovery, "test_aliases_that_are_listed_are_names_of_their_target"),
    ],
    11: [
        (test_loading, "test_an_unload_waits_for_as_long_as_the_server_may_take"),
        (test_loading, "test_an_unload_refuses_while_requests_of_ours_run"),
        (test_loading, "test_an_unload_says_how_many_requests_of_others_it_breaks"),
    ],
    12: [
        (test_loading, "test_a_load_that_takes_too_long_says_how_to_stop_it"),
        (test_loading, "test_an_unload_calls_off_a_load"),
    ],
    13: [(test_media, "test_more_requests_than_a_cold_model_takes_wait_for_their_turn")],
    14: [(test_swaps, "test_who_waits_is_told_what_has_to_make_room")],
    15: "which models run side by side is llama-swap's routing; who waits is told for what, so a"
    " ping-pong shows, and the page on llama-swap says which group ends it",
    16: "what fits into memory together is not known to a client: `running` lists all of it",
    17: [(test_management, "test_a_model_s_log_ends_where_it_pauses")],
    18: [
        (test_management, "test_a_log_that_is_followed_has_no_limit_on_silence"),
        (test_wire, "test_recorded_events_tell_states_and_requests"),
        (test_wire, "test_requests_in_flight_are_counted_in_each_form"),
        (test_management, "test_show_tells_what_the_model_has_answered"),
    ],
    19: "a proxy between us and the server is the user's: the page on llama-swap names the setting",
    21: [(test_swaps, "test_a_reload_of_the_config_is_an_interruption")],
    22: "a port that a dying process still holds is llama-swap's own, and no client can tell",
    24: [(test_wire, "test_slashes_and_colons_of_an_id_stay_in_a_path")],
    28: "what a filter has changed is told to nobody, and nothing here depends on it",
}
HERE = {10, 20, 23, 25, 26, 27, 29, 30}


def test_every_trap_has_its_test() -> None:
    assert set(TRAPS) | HERE == set(range(1, 31))
    missing = [
        name
        for held in TRAPS.values()
        if not isinstance(held, str)
        for module, name in held
        if not inspect.isfunction(getattr(module, name, None))
    ]
    written = {int(found) for found in re.findall(r"test_(\d\d)_", Path(__file__).read_text())}
    assert (missing, written) == ([], HERE)


def test_the_page_names_every_trap() -> None:
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)

    assert [int(row) for row in rows] == list(range(1, 31))


async def test_10_an_alias_goes_out_as_it_is_and_another_name_may_come_back(bay: OpenBay) -> None:
    """S1-31."""
    with LlamaSwapSimulator([SimulatedModel("real", aliases=["fast"], file="f.gguf")]) as sim:
        desk = bay(sim.base_url)
        await desk.discover()
        events = await desk.chat(wire_id="fast")

        (sent,) = (r.json() for r in sim.requests if r.method == "POST")
    assert isinstance(sent, dict)
    assert sent["model"] == "fast"
    assert isinstance(events[-1], Finish)
    assert events[-1].model == "f.gguf"


async def test_20_a_body_is_json_and_says_so_and_is_not_compressed(bay: OpenBay) -> None:
    with Scripted() as sim:
        await bay(sim.base_url).chat()

        headers = sim.requests[-1].headers
    assert headers["content-type"] == "application/json"
    assert "content-encoding" not in headers


async def test_23_a_key_goes_as_bearer_alone_and_no_command_is_shown(bay: OpenBay) -> None:
    """Basic beats Bearer beats x-api-key: a wrong one beside the right one is refused."""
    models = [SimulatedModel("tiny", child_key="sk-right-1")]
    with LlamaSwapSimulator(models, keys=["sk-right-1"]) as sim:
        desk = bay(sim.base_url, apiKey="sk-right-1")
        assert text_of(await desk.chat()) == "Hello from the simulator."
        seen = [
            {name: value for name, value in r.headers.items() if "auth" in name or "api" in name}
            for r in sim.requests
        ]

    assert set(map(str, seen)) == {"{'authorization': 'Bearer sk-right-1'}"}


@pytest.mark.parametrize("listed", ["m", "lab/m"], ids=["before v242", "since v242"])
async def test_25_a_peer_s_model_is_called_as_it_is_listed(bay: OpenBay, listed: str) -> None:
    peer = entry(listed, meta={"llamaswap": {"peerID": "lab"}})
    with Scripted([peer]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model(listed)
        _ = [event async for event in desk.backend.stream_chat(ask(), model)]
        sent = sim.requests[-1].json()

    assert isinstance(sent, dict)
    assert (sent["model"], model.origin, str(model.ref)) == (listed, "remote", f"desk/{listed}")


async def test_26_a_peer_that_says_nothing_is_told_with_its_limit(bay: OpenBay) -> None:
    peers = [Peer("lab", [SimulatedModel("m")], up=False)]
    with LlamaSwapSimulator(peers=peers) as sim, pytest.raises(BackendError) as caught:
        await bay(sim.base_url).chat(wire_id="lab/m")

    assert caught.value.hint == (
        "is the peer up? It has 60 s to begin unless its timeouts.responseHeader says else"
    )


async def test_27_a_model_that_never_gets_healthy_is_told_with_the_two_settings(
    bay: OpenBay,
) -> None:
    models = [SimulatedModel("tiny", fail="timeout")]
    with (
        LlamaSwapSimulator(models, health_check_timeout_s=15) as sim,
        pytest.raises(BackendError) as caught,
    ):
        await bay(sim.base_url).chat()

    assert caught.value.hint == (
        "raise healthCheckTimeout, or correct the model's checkEndpoint: it must answer 200."
        " modelbay logs desk tiny"
    )


async def test_29_a_load_is_held_until_it_is_answered(bay: OpenBay) -> None:
    """One that nobody waits for is undone a second after it is ready."""
    models = [SimulatedModel("tiny", load_s=3, ttl_s=200)]
    with LlamaSwapSimulator(models) as sim:
        events = await bay(sim.base_url).manage(Load(model="tiny"))

        await sim.wait_until_async(lambda: sim.states == {"tiny": "ready"})
        health = [r for r in sim.requests if r.path == "/upstream/tiny/health"]
    assert events[-1] == Done(message="tiny is loaded")
    assert len(health) == 1


async def test_30_a_crash_between_two_requests_is_no_error_and_nothing_old_is_believed(
    bay: OpenBay,
) -> None:
    with LlamaSwapSimulator([SimulatedModel("tiny", n_ctx=512)]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="tiny"))
        sim.kill("tiny")
        await sim.wait_until_async(lambda: sim.states == {"tiny": "stopped"})
        after = (await desk.discover())["tiny"]
        assert memory(desk.context).measured == {}
        again = await desk.chat()

        assert sim.starts == {"tiny": 2}
    assert (after.state, after.loaded_context) == ("unloaded", None)
    assert text_of(again) == "Hello from the simulator."


# --- beside the list ------------------------------------------------------------------------------


async def test_every_request_to_llama_swap_asks_for_json(bay: OpenBay) -> None:
    """Up to v217 an error is JSON only for who asks for it."""
    with LlamaSwapSimulator([SimulatedModel("a")]) as sim:
        desk = bay(sim.base_url)
        for action in (ListModels(), Load(model="a"), Running(), Show(model="a"), Health()):
            await desk.manage(action)
        await desk.manage(Unload(model="a"))

        assert {request.headers.get("accept") for request in sim.requests} == {"application/json"}


async def test_an_error_of_llama_swap_s_own_is_read_without_an_accept_header(bay: OpenBay) -> None:
    """Up to v217 it would be text, and later a web page for a browser."""
    with Scripted(running=[process("tiny")]) as sim:
        sim.answer("/v1/chat/completions", refused("no router for requested model"), 404)
        with pytest.raises(BackendError):
            await bay(sim.base_url).chat()

        assert sim.requests[-1].headers["accept"] == "application/json"
