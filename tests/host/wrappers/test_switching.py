"""Mirrors modelbay/host/wrappers/switching.py: what the configuration names, and nothing else."""

from collections.abc import Callable, Generator
from types import SimpleNamespace

import pytest

from modelbay.hookspecs import hookimpl
from modelbay.host.entry_points import Found
from modelbay.host.wrappers.concurrency import Concurrency
from modelbay.host.wrappers.request_log import RequestLog
from modelbay.host.wrappers.switching import NOT_INSTALLED, OURS, load_wrappers


class Trace:
    @hookimpl(wrapper=True)
    def stream_chat(self) -> Generator[None, object, object]:
        return (yield)


class Answers:
    @hookimpl
    def stream_chat(self) -> object:
        return None


class Nothing:
    pass


class Misspelt:
    @hookimpl(wrapper=True)
    def stream_chats(self) -> Generator[None, object, object]:
        return (yield)


def found(name: str, load: Callable[[], object], requires: str = "") -> Found:
    return Found(name, "mb_trace", f"modelbay-{name}", "1.0", requires, load)


def never() -> object:
    raise AssertionError("imported")


def leaves() -> object:
    raise SystemExit(3)


def test_ours_are_there_without_being_installed_and_off_unless_named() -> None:
    assert load_wrappers([], []) == ([], [])

    loaded, failed = load_wrappers(["request-log", "concurrency:2"], [])

    assert [(name, type(wrapper)) for name, wrapper in loaded] == [
        ("request-log", RequestLog),
        ("concurrency", Concurrency),
    ]
    assert failed == []
    assert sorted(OURS) == ["concurrency", "request-log"]


def test_settings_that_are_wrong_are_told_with_the_wrappers_name() -> None:
    loaded, failed = load_wrappers(["concurrency", "request-log:loud"], [])

    assert loaded == []
    assert [name for name, _ in failed] == ["wrapper concurrency", "wrapper request-log"]
    assert "it needs a number" in failed[0][1]
    assert "file=PATH" in failed[1][1]


def test_an_installed_one_is_imported_when_it_is_named() -> None:
    trace = Trace()
    entries = [found("trace", lambda: trace), found("other", never)]

    assert load_wrappers(["trace", "trace"], entries) == ([("trace", trace)], [])


def test_settings_go_to_configure() -> None:
    given: list[str] = []

    def configure(settings: str) -> object:
        given.append(settings)
        return Trace()

    module = SimpleNamespace(configure=configure)
    loaded, failed = load_wrappers(["trace:a=1:b"], [found("trace", lambda: module)])

    assert (len(loaded), failed, given) == (1, [], ["a=1:b"])


@pytest.mark.parametrize(
    ("wanted", "entry", "reason"),
    [
        ("trace:x", found("trace", Trace), "it takes no settings, and was given 'x'"),
        ("trace", found("trace", Nothing), "marked @hookimpl(wrapper=True)"),
        ("trace", found("trace", Answers), "marked @hookimpl(wrapper=True)"),
        ("trace", found("trace", Misspelt), "stream_chats"),
        ("trace", found("trace", leaves), "cannot be imported: SystemExit: 3"),
        ("trace", found("trace", never, ">=99"), "(modelbay-trace 1.0) is too new"),
        ("trace", found("trace", lambda: SimpleNamespace(configure=leaves)), "TypeError"),
    ],
)
def test_one_that_cannot_be_used_is_told_and_left_out(
    wanted: str, entry: Found, reason: str
) -> None:
    loaded, failed = load_wrappers([wanted], [entry])

    assert loaded == []
    [(name, why)] = failed
    assert name == "wrapper trace"
    assert reason in why


def test_one_that_is_not_installed_is_told() -> None:
    assert load_wrappers(["trace:x"], []) == ([], [("trace", NOT_INSTALLED)])


def test_a_strangers_wrapper_does_not_take_a_name_of_ours() -> None:
    [(_, wrapper)], failed = load_wrappers(["request-log"], [found("request-log", never)])

    assert (type(wrapper), failed) == (RequestLog, [])
