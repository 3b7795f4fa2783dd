"""How the simulated llama-swap reads names, forms and broken JSON, and what it makes of them."""

import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay_llamaswap.simulator import (
    Dialect,
    Filters,
    Group,
    Peer,
    Profile,
    Selector,
    SimulatedModel,
)
from modelbay_llamaswap.simulator.bodies import drop, put, read_model
from modelbay_llamaswap.simulator.forms import FormError, Part, build_form, parse_form
from plugins.llamaswap.simulated import HI, A, B, C, asking, chat, said, serving

NAMES = st.text(string.ascii_letters + string.digits + "-_./:", min_size=1, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)

# selectors


def test_a_pin_is_the_first_target() -> None:
    with serving([A, B], selectors=[Selector("pick", ("b", "a"))]) as (sim, http):
        chat(http, "a")

        assert said(chat(http, "pick")) == "I am b."
        assert json.loads(sim.forwarded[-1].request.body)["model"] == "b"


def test_warm_takes_what_is_ready() -> None:
    with serving([A, B], selectors=[Selector("pick", ("b", "a"), "warm")]) as (sim, http):
        chat(http, "a")
        assert said(chat(http, "pick")) == "I am a."
        http.post("/api/models/unload")

        assert said(chat(http, "pick")) == "I am b."
        assert sim.starts == {"a": 1, "b": 1}


def test_spillover_starts_the_next_one_when_the_first_is_busy() -> None:

    models = [replace(A, hold_after=0), replace(B, hold_after=0)]
    groups = {"g": Group(("a", "b"), swap=False)}
    selectors = [Selector("pick", ("a", "b"), "spillover", spillover=1)]
    with serving(models, groups=groups, selectors=selectors) as (sim, http):
        first = asking(http, "pick")
        sim.wait_until(lambda: sim.holding == 1)
        second = asking(http, "pick")
        sim.wait_until(lambda: sim.holding == 2)
        sim.release_held()

        assert (said(first.answer()), said(second.answer())) == ("I am a.", "I am b.")


def test_a_selector_without_a_target_is_503() -> None:
    with serving([A], selectors=[Selector("pick", ("gone",))]) as (_, http):
        assert chat(http, "pick").status_code == 503


def test_a_row_says_which_selector_chose() -> None:
    with serving([A], selectors=[Selector("pick", ("a",))]) as (_, http):
        chat(http, "pick")
        (row,) = http.get("/api/metrics/activity").json()["data"]

    assert (row["model"], row["metadata"]) == ("a", {"fifo_priority": "0", "selector": "pick"})


@pytest.mark.parametrize(
    ("dialect", "statuses"),
    [("v160", [200, 400, 400]), ("v217", [200, 400, 200]), ("v250", [200, 200, 200])],
)
def test_names_of_later_versions_mean_nothing_to_earlier_ones(
    dialect: Dialect, statuses: list[int]
) -> None:
    peers = [Peer("lab", [B])]
    selectors = [Selector("pick", ("a",))]
    with serving([A], dialect, selectors=selectors, peers=peers) as (_, http):
        assert [chat(http, name).status_code for name in ("a", "pick", "b")] == statuses


# profiles and peers


def test_a_profile_renames_and_switches_off() -> None:
    with serving([A, B], profiles=[Profile("p", {"a": "b", "off": None})]) as (_, http):
        before = said(chat(http, "a"))
        http.put("/api/profiles/active", json={"name": "p"})
        off = chat(http, "off")

        assert (before, said(chat(http, "a"))) == ("I am a.", "I am b.")
        assert off.json()["error"]["message"] == "no model id could be identified"


def test_a_bare_name_reaches_a_peer_only_if_one_peer_has_it() -> None:
    peers = [Peer("lab", [A, B]), Peer("den", [B])]
    with serving([C], peers=peers) as (sim, http):
        statuses = {name: chat(http, name).status_code for name in ("a", "b", "lab/b", "den/b")}

        assert statuses == {"a": 200, "b": 404, "lab/b": 200, "den/b": 200}
        assert [f.to for f in sim.forwarded] == ["lab/a", "lab/b", "den/b"]
        assert http.get("/running").json() == {"running": []}


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [
        ("v217", "text/plain; charset=utf-8"),
        ("v250", "text/plain; charset=utf-8"),
        ("head", "application/json"),
    ],
)
def test_a_peer_that_is_down_is_502(dialect: Any, kind: str) -> None:
    with serving([], dialect, peers=[Peer("lab", [A], up=False)]) as (_, http):
        answer = chat(http, "a")

    assert (answer.status_code, answer.headers["content-type"]) == (502, kind)
    assert "peer proxy error: " in answer.text


# passthrough


def test_the_longest_name_in_a_path_counts() -> None:
    models = [SimulatedModel("org", answer="short"), SimulatedModel("org/v1", answer="long")]
    with serving(models) as (sim, http):
        http.get("/upstream/org/v1/models")
        http.get("/upstream/org/health")

        assert [(f.to, f.request.raw_path) for f in sim.forwarded] == [
            ("org/v1", "/models"),
            ("org", "/health"),
        ]


def test_the_rest_of_a_path_and_the_query_stay_as_they_are() -> None:
    with serving([A]) as (sim, http):
        http.get("/upstream/a/x%2Fy/z?q=1%202&r")
        request = sim.forwarded[0].request

    assert (request.raw_path, request.query) == ("/x%2Fy/z", "q=1%202&r")


def test_a_page_asset_does_not_load_since_v229() -> None:
    for dialect, starts in (("v217", {"a": 1}), ("v250", {})):
        with serving([A], dialect) as (sim, http):  # type: ignore[arg-type]
            http.get("/upstream/a/app.js")
            assert sim.starts == starts


def test_the_fixed_model_is_started_by_its_page_alone() -> None:
    with serving([SimulatedModel("comfyui_auto")]) as (sim, http):
        assert http.get("/comfyui/x").status_code == 409
        assert sim.starts == {}
        http.get("/comfyui/")
        assert sim.starts == {"comfyui_auto": 1}
        assert http.get("/comfyui/health").json() == {"status": "ok"}
    with serving([A]) as (_, http):
        assert http.get("/comfyui/").status_code == 404


# filters


def test_filters_leave_the_model_and_forms_alone() -> None:
    filters = Filters(("model", "top_k"), {"model": "x", "seed": 1})
    with serving([replace(A, filters=filters)]) as (sim, http):
        chat(http, top_k=3)
        http.post("/v1/audio/transcriptions", data={"model": "a"}, files={"file": b"x"})
        body = json.loads(sim.forwarded[0].request.body)

    assert body == {"model": "a", "messages": HI, "seed": 1}
    assert b"seed" not in sim.forwarded[1].request.body


def test_a_body_that_nothing_changes_passes_byte_for_byte() -> None:
    raw = b'{ "model" : "a",\n "messages":[{"role":"user","content":"h\\u00ef"}] }'
    with serving([A]) as (sim, http):
        http.post("/v1/chat/completions", content=raw, headers={"Content-Type": "application/json"})

        assert sim.forwarded[0].request.body == raw


@given(path=st.lists(NAMES.filter(lambda n: "." not in n), min_size=1, max_size=3), new=VALUES)
def test_what_is_put_can_be_dropped(path: list[str], new: Any) -> None:
    value: dict[str, Any] = {}
    put(value, path, new)
    found: Any = value
    for name in path:
        found = found[name]
    assert found == new
    drop(value, path)
    assert path[-1] not in json.dumps(value) or len(path) > 1


# reading


@given(model=NAMES, before=st.dictionaries(st.text(max_size=5), VALUES, max_size=3), cut=st.data())
def test_a_model_is_read_from_json_that_breaks_off_after_it(
    model: str, before: dict[str, Any], cut: st.DataObject
) -> None:
    before.pop("model", None)
    text = json.dumps({**before, "model": model, "messages": [{"role": "user"}]})
    end = text.index(json.dumps(model), text.index('"model": ') + 9) + len(json.dumps(model))
    at = cut.draw(st.integers(end, len(text)))

    assert read_model(text[:at].encode()) == model


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    assert isinstance(read_model(body), str)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ("", ""),
        ("[]", ""),
        ('{"model": 5}', "5"),
        ('{"model": true}', "true"),
        ('{"model": null}', ""),
        ('{"a": {"model": "inner"}, "model": "outer"', "outer"),
        ('{"model": "cut', ""),
    ],
)
def test_odd_models_are_read_as_text(body: str, model: str) -> None:
    assert read_model(body.encode()) == model


PARTS = st.builds(
    Part,
    name=st.text(string.ascii_letters + "[]", min_size=1, max_size=8),
    data=st.binary(max_size=60),
    filename=st.text(string.ascii_letters, max_size=5),
)


@given(st.lists(PARTS, max_size=5))
def test_a_form_that_was_built_is_read_again(parts: list[Part]) -> None:
    body, kind = build_form(parts)
    plain = [part for part in parts if not part.filename]
    files = [
        replace(part, content_type="application/octet-stream") for part in parts if part.filename
    ]

    assert parse_form(body, kind) == [*plain, *files]


@given(st.binary(max_size=80), st.text(max_size=30))
def test_what_is_no_form_is_said_to_be_none(body: bytes, boundary: str) -> None:
    try:
        parts = parse_form(body, f"multipart/form-data; boundary={boundary}")
    except FormError:
        return
    assert isinstance(parts, list)


def test_a_form_without_a_boundary_names_no_model() -> None:
    with serving([A]) as (_, http):
        answer = http.post(
            "/v1/images/edits",
            content=b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--B--\r\n',
            headers={"Content-Type": "multipart/form-data"},
        )

    assert answer.json()["error"]["message"] == "no model id could be identified"
