"""Checks of errors: every refusal has a type, a status, a provider and words."""

import json
import time
from collections.abc import Sequence

import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotFoundError,
    PluginError,
    RateLimitedError,
)
from modelbay.testing.conformance.bay import Bay, Outcome, Rule
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.conformance.target import Target
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer

SAID = "the kit says no"
STATUSES: tuple[tuple[int, type[BackendError]], ...] = (
    (400, InvalidRequestError),
    (401, AuthenticationError),
    (403, AuthenticationError),
    (404, ModelNotFoundError),
    (429, RateLimitedError),
    (500, BackendError),
    (503, BackendBusyError),
    (504, BackendTimeoutError),
)
# What servers put around an error's text: an object, a string, or nothing at all.
ENVELOPES = {
    "object": lambda: json.dumps({"error": {"message": SAID, "type": "kit_error", "param": None}}),
    "string": lambda: json.dumps({"error": SAID}),
    "text": lambda: SAID,
}
# And what they put there when something else of theirs has failed.
ODD_BODIES: dict[str, bytes] = {
    "null": b"null",
    "number": b"7",
    "list": b'[{"msg": "one"}, 2, null]',
    "null error": b'{"error": null}',
    "numbers": b'{"error": {"message": 7, "code": [1]}}',
    "details": b'{"detail": [{"loc": ["body", 0], "msg": "one"}]}',
    "deep": b"[" * 5000 + b"]" * 5000,
}


class ErrorChecks(Kit):
    read = "modelbay/errors.py; modelbay/wire/errors.py"

    @pytest.mark.parametrize("envelope", ENVELOPES)
    @pytest.mark.parametrize(("status", "wanted"), STATUSES, ids=[str(s) for s, _ in STATUSES])
    async def test_a_status_has_its_error(
        self,
        bay: Bay,
        rule: Rule,
        status: int,
        wanted: type[BackendError],
        envelope: str,
    ) -> None:
        """Each status is its own error, with the server's words, in any of the three envelopes."""
        body = ENVELOPES[envelope]().encode()
        outcome = await _refused(bay, status, body)
        error = _typed(rule, outcome)
        wanted = bay.target.status_errors.get(status, wanted)
        rule.holds(isinstance(error, wanted), f"HTTP {status} became {error!r}")
        rule.holds(error.status == status, f"the error's status is {error.status}")
        rule.holds(SAID in error.message, f"the server said {SAID!r}, the error {error.message!r}")

    async def test_an_error_names_provider_and_model(self, bay: Bay, rule: Rule) -> None:
        """An error says which provider and which model it is about."""
        error = _typed(rule, await _refused(bay, 500, b"{}"))
        rule.holds(error.provider_id == bay.provider_id, f"provider_id is {error.provider_id!r}")
        rule.holds(bay.target.model in (error.model or ""), f"model is {error.model!r}")

    async def test_an_error_is_not_its_own_cause(self, bay: Bay, rule: Rule) -> None:
        """The chain of causes ends; whoever walks along it would never come back else."""
        for status in (400, 401, 500):
            link: BaseException | None = _typed(rule, await _refused(bay, status, b"{}"))
            known: list[BaseException] = []
            while link is not None:
                rule.holds(link not in known, f"a circle of causes: {[*known, link]}")
                known.append(link)
                link = link.__cause__

    async def test_retry_after_is_kept(self, bay: Bay, rule: Rule) -> None:
        """429 carries the seconds of Retry-After."""
        error = _typed(rule, await _refused(bay, 429, b"{}", [("Retry-After", "7")]))
        rule.holds(error.retry_after_s == 7.0, f"retry_after_s is {error.retry_after_s}")

    @pytest.mark.parametrize("body", ODD_BODIES)
    async def test_an_error_of_any_shape_is_typed(self, bay: Bay, rule: Rule, body: str) -> None:
        """JSON of any other shape in an error is still the error of its status, with words."""
        error = _typed(rule, await _refused(bay, 500, ODD_BODIES[body]))
        rule.holds(error.status == 500, f"the error's status is {error.status}")
        rule.holds(len(error.message.strip()) > 5, f"the message is {error.message!r}")

    @pytest.mark.parametrize("status", [200, 502])
    async def test_a_web_page_is_a_typed_error(self, bay: Bay, rule: Rule, status: int) -> None:
        """HTML, as a proxy or another server answers it, is an error and never an answer."""
        bay.target.require("faults")
        info = await bay.model()
        bay.target.arm(Fault.html(status), bay.target.chat_path)
        _typed(rule, await bay.chat(info=info))

    @pytest.mark.parametrize("status", [401, 500])
    async def test_an_empty_error_still_has_words(self, bay: Bay, rule: Rule, status: int) -> None:
        """An error without a body still says something."""
        error = _typed(rule, await _refused(bay, status, b""))
        rule.holds(len(error.message.strip()) > 5, f"the message is {error.message!r}")

    async def test_an_error_that_is_no_utf_8_is_typed(self, bay: Bay, rule: Rule) -> None:
        """Bytes that are no text are no reason for another exception."""
        _typed(rule, await _refused(bay, 500, b'{"error": {"message": "\xff\xfe\x00"}}'))

    async def test_a_long_error_is_cut(self, bay: Bay, rule: Rule) -> None:
        """A server that echoes a whole prompt does not get it into a message."""
        echo = json.dumps({"error": {"message": "cannot read: " + "prompt " * 20_000}})
        error = _typed(rule, await _refused(bay, 400, echo.encode()))
        rule.holds(len(str(error)) < 2000, f"a message of {len(str(error))} characters")

    async def test_a_dead_port_is_unreachable(self, target: Target, rule: Rule) -> None:
        """Where nothing listens, BackendUnreachableError comes, and soon."""
        target.require("address")
        config = target.config.model_copy(update={"base_url": dead_url()})
        async with Bay.open(target, config) as bay:
            began = time.monotonic()
            outcome = await bay.chat(info=bay.made_up(target.model))
            rule.holds(isinstance(outcome.error, BackendUnreachableError), outcome)
            rule.holds(time.monotonic() - began < self.patience_s, outcome)

    @pytest.mark.parametrize(
        "fault",
        [Fault(drop=True), Fault(reset=True), Fault(garbage=b"SSH-2.0-OpenSSH_9.6\r\n")],
        ids=("closed", "reset", "not HTTP"),
    )
    async def test_no_answer_at_all_is_a_typed_error(
        self, bay: Bay, rule: Rule, fault: Fault
    ) -> None:
        """A connection that is closed instead of answered, or speaks no HTTP, is a BackendError."""
        bay.target.require("faults")
        info = await bay.model()
        bay.target.arm(fault, bay.target.chat_path)
        _typed(rule, await bay.chat(info=info))

    async def test_a_recovered_server_answers_again(self, bay: Bay, rule: Rule) -> None:
        """After an error the same provider works as before."""
        await _refused(bay, 500, b"{}")
        bay.target.clear()
        outcome = await bay.chat()
        rule.holds(outcome.error is None, outcome)


async def _refused(
    bay: Bay, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()
) -> Outcome:
    """A turn that the server refuses; the model was resolved before."""
    bay.target.require("faults")
    info = await bay.model()
    answer = http_answer(body, status=status, content_type="application/json", headers=headers)
    bay.target.arm(Fault(garbage=answer), bay.target.chat_path)
    return await bay.chat(info=info)


def _typed(rule: Rule, outcome: Outcome) -> BackendError:
    if isinstance(outcome.error, PluginError) or not isinstance(outcome.error, BackendError):
        rule.broken(outcome)
    return outcome.error
