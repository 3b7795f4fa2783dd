"""Mirrors modelbay_gateway/own/surface.py: the guard asks for what an operation says it needs."""

import pytest

from gateway.own.lab import Lab, lab_host
from modelbay_gateway.app import Gateway
from modelbay_gateway.bay import Bay
from modelbay_gateway.own.openapi import DESCRIPTION
from modelbay_gateway.own.operation import Operation
from modelbay_gateway.own.operations import OPERATIONS
from modelbay_gateway.own.surface import SURFACE, needs


@pytest.mark.parametrize(
    "operation", [*OPERATIONS, DESCRIPTION], ids=lambda each: f"{each.method} {each.path}"
)
@pytest.mark.parametrize("id", ["c", "a/b", "model", "messages"])
def test_a_request_needs_the_scope_of_the_operation_that_answers_it(
    operation: Operation, id: str
) -> None:
    path = operation.path.replace("{id:path}", id).replace("{id}", "desk")

    assert Gateway(Bay(lab_host(Lab()))).surface(path) is SURFACE
    assert needs(operation.method, path) == operation.scope
    if operation.method == "GET":
        assert needs("HEAD", path) == operation.scope


def test_what_is_not_there_still_needs_a_key() -> None:
    assert needs("GET", "/conversations/c/other") == "admin"
    assert needs("POST", "/api/models") == "chat"
    assert needs("PATCH", "/conversations/c") == "chat"
