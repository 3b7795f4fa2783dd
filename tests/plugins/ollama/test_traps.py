"""One test for each trap: where it stands, or the test itself."""

import inspect
from types import ModuleType

import pytest

from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Notice
from modelbay.models.manage import Load, Pull
from modelbay.testing.fault import Fault
from modelbay_ollama.simulator import Knobs, OllamaSimulator, SimulatedModel
from plugins.ollama import (
    test_chat,
    test_config,
    test_discovery,
    test_loading,
    test_management,
    test_names,
    test_requests,
    test_schemas,
    test_truncation,
    test_wire,
)
from plugins.ollama.bay import WITH_TOOLS, OpenBay, ask

# trap -> module and test that holds it; a text is the reason why there is nothing to test here.
TRAPS: dict[int, tuple[ModuleType, str] | str] = {
    1: (test_discovery, "test_trained_configured_and_effective_are_never_mixed"),
    2: (test_chat, "test_a_cold_model_is_told_once_and_loaded_once"),
    3: (test_truncation, "test_the_caller_is_told_what_was_left_out_and_the_answer_comes"),
    4: (test_chat, "test_a_call_comes_whole_whatever_path_the_server_takes"),
    5: (test_chat, "test_a_call_comes_whole_whatever_path_the_server_takes"),
    6: (test_chat, "test_the_three_failures_are_three_errors_and_keep_what_came"),
    7: (test_chat, "test_the_three_failures_are_three_errors_and_keep_what_came"),
    8: (test_chat, "test_odd_characters_and_long_lines_are_text"),
    10: (test_wire, "test_a_lifetime_is_sent_in_a_form_every_server_takes"),
    11: (test_chat, "test_no_think_is_sent_to_a_model_that_does_not"),
    12: (test_wire, "test_thinking_is_said_explicitly_and_only_to_who_can"),
    13: (test_wire, "test_a_script_of_the_notes_becomes_these_events"),
    14: (test_wire, "test_thinking_that_used_up_the_limit_is_told"),
    15: (test_wire, "test_arguments_that_are_no_object_are_refused_loudly"),
    16: (test_wire, "test_calls_without_an_id_get_one"),
    17: (
        test_schemas,
        "test_what_the_server_would_drop_from_a_schema_is_put_in_place_or_into_words",
    ),
    18: (test_wire, "test_an_option_of_another_type_is_refused_before_the_wire"),
    19: (test_wire, "test_a_call_that_cannot_be_forced_is_not_promised"),
    20: (test_chat, "test_an_answer_that_ignores_its_schema_is_told"),
    21: (test_wire, "test_images_and_sound_are_bare_base64_in_their_order"),
    22: "the host refuses images for a model that is known not to see, before any plugin is asked",
    23: (test_names, "test_all_spellings_of_a_model_are_one_model"),
    24: (test_loading, "test_a_model_is_loaded_when_another_name_of_its_weights_is"),
    25: (test_chat, "test_a_lifetime_goes_with_every_request"),
    26: (test_management, "test_an_unload_ends_when_the_model_is_gone"),
    27: (test_management, "test_a_pull_counts_the_bytes_of_the_whole_and_never_falls"),
    29: (test_management, "test_an_unknown_name_is_no_disk_error"),
    30: (test_chat, "test_the_openai_layer_is_used_when_it_is_asked_for"),
    31: (test_wire, "test_a_missing_count_is_not_nought"),
    32: (test_truncation, "test_counts_alone_find_nearly_all_cuts_and_raise_no_false_alarm"),
    34: "the host's own transport never sends loopback through a proxy: tests/host",
    35: (test_config, "test_the_address_variable_means_what_it_means_to_ollama"),
    36: (test_config, "test_the_cloud_s_key_goes_to_the_cloud_alone"),
    37: (test_requests, "test_without_consent_no_prompt_goes_to_the_cloud_by_any_name"),
    38: (test_discovery, "test_an_older_server_is_asked_for_each_model_once"),
    39: (test_chat, "test_a_full_queue_is_asked_again_a_few_times"),
    40: (test_wire, "test_the_text_of_parameters_is_read"),
    41: (test_wire, "test_neighbours_of_one_role_are_made_one_but_for_results_of_tools"),
    42: (test_chat, "test_an_engine_s_nested_error_is_readable"),
}
HERE = {9, 28, 33}


def test_every_trap_has_its_test() -> None:
    assert set(TRAPS) | HERE == set(range(1, 43))
    missing = [
        name
        for entry in TRAPS.values()
        if isinstance(entry, tuple)
        for module, name in [entry]
        if not inspect.isfunction(getattr(module, name, None))
    ]
    assert missing == []


@pytest.mark.anyio
async def test_09_the_head_of_an_answer_may_take_as_long_as_a_load(bay: OpenBay) -> None:
    """A limit would abort the load, and the next try would begin it anew."""
    with OllamaSimulator(knobs=Knobs(load_delay_s=0.3)) as sim:
        events = await bay(sim.base_url, probeTimeoutS=0.1).chat("hi")

        assert (sim.loads, sim.aborted_loads) == ({"llama3.1:8b": 1}, {})
    assert events[-1].type == "finish"


@pytest.mark.anyio
async def test_28_a_pull_is_always_streamed(bay: OpenBay) -> None:
    """Unstreamed it is minutes of silence, and then 500."""
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        sim.inject(Fault(status=200, body=b'{"status":"success"}\n'), path="/api/pull")
        await desk.manage(Pull(model="codestral:22b"))
        body = next(r.json() for r in sim.requests if r.path == "/api/pull")

    assert isinstance(body, dict)
    assert body["stream"] is True


@pytest.mark.anyio
async def test_33_no_origin_is_sent(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        await bay(sim.base_url).chat("hi")

        assert all("origin" not in request.headers for request in sim.requests)


# --- beside the list -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_small_model_with_tools_is_warned_of(bay: OpenBay) -> None:
    """S4-98."""
    small = SimulatedModel(
        "llama3.2:3b", parameter_size="3.2B", capabilities=("completion", "tools")
    )
    with OllamaSimulator([small]) as sim:
        events = await bay(sim.base_url).chat(WITH_TOOLS, "llama3.2:3b")

    assert [event.code for event in events if isinstance(event, Notice)] == ["weak_tools"]


@pytest.mark.anyio
async def test_another_window_for_one_request_loads_anew_and_says_so(bay: OpenBay) -> None:
    """Section 5.3."""
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="llama3.1:8b"))
        events = await desk.chat(ask("hi", extra={"num_ctx": 2048}))

        assert sim.reloads == {"llama3.1:8b": 1}
    assert [event.code for event in events if isinstance(event, Notice)] == ["reload"]
    assert [event.type for event in events[:2]] == ["notice", "status"]


@pytest.mark.anyio
async def test_what_only_one_server_knows_is_forgotten_with_it(bay: OpenBay) -> None:
    """Two providers share nothing, as the memory belongs to each."""
    with OllamaSimulator(version="0.12.11") as old, OllamaSimulator(version="0.33.0") as new:
        first, second = bay(old.base_url), bay(new.base_url)
        models: list[ModelInfo] = [await first.model(), await second.model()]

        assert (old.show_calls, new.show_calls) == (1, 0)
    assert [model.capabilities.tools for model in models] == [False, False]
