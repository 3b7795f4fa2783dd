"""Generated requests against ``/openapi.json``: only documented answers, and no 5xx."""

import importlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from gateway.own.lab import Lab, lab_host
from gateway.serving import serve
from modelbay.state import open_store

schemathesis = pytest.importorskip(
    "schemathesis", reason="NOT CHECKED: schemathesis is not installed; pip install schemathesis"
)

EXAMPLES = 5  # of every operation and mode; half a minute for all of them
ENDLESS = "/api/events"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    host = lab_host(Lab())
    with serve(host, store=open_store(":memory:")) as served:
        yield served.base_url


@pytest.fixture(scope="module")
def operations(base_url: str) -> Any:
    """Every operation, but the one whose answer never ends."""
    document = httpx.get(f"{base_url}/openapi.json").json()
    del document["paths"][ENDLESS]
    schema = schemathesis.openapi.from_dict(document)
    return [found.ok() for found in schema.get_all_operations()]


# A request without body and query cannot be wrong.
@pytest.mark.parametrize(
    ("mode", "methods"),
    [("positive", ("GET", "HEAD", "POST", "PUT", "DELETE")), ("negative", ("POST", "PUT"))],
)
def test_every_answer_is_one_that_is_documented(
    base_url: str, operations: Any, mode: str, methods: tuple[str, ...]
) -> None:
    checks = importlib.import_module("schemathesis.specs.openapi.checks")
    wanted = [
        importlib.import_module("schemathesis.checks").not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    asked = []

    def ask(operation: Any, headers: dict[str, str]) -> None:
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def run(case: Any) -> None:
            response = case.call(base_url=base_url, timeout=30, headers=headers)
            case.validate_response(response, checks=wanted)
            asked.append(operation.label)

        with suppress(Unsatisfiable):  # nothing about it could be wrong
            run()

    for operation in operations:
        ask(operation, {})
        if "/models" in operation.label:  # the same paths for clients of another protocol
            ask(operation, {"anthropic-version": "2023-06-01"})

    labels = {operation.label for operation in operations}
    assert {each for each in labels if each.startswith(methods)} - set(asked) == set()
    for protocol in ("/v1/messages", "/messages/count_tokens", "/api/chat", "/api/embed"):
        assert f"POST {protocol}" in asked
