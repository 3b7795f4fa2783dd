"""The README's table says what a host does: what is no there, the host refuses."""

from collections.abc import Awaitable, Callable

import pytest

from docs import matrix
from modelbay.errors import UnsupportedActionError, UnsupportedFeatureError
from modelbay.host.backend import Backend
from modelbay.models.manage import (
    Action,
    ActionName,
    Balance,
    Copy,
    Create,
    Delete,
    Health,
    ListModels,
    Load,
    Logs,
    Pull,
    Running,
    Show,
    Unload,
)
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from pretend import context, model

pytestmark = pytest.mark.anyio

ACTIONS: dict[ActionName, Action] = {
    "list": ListModels(),
    "running": Running(),
    "load": Load(model="m"),
    "unload": Unload(model="m"),
    "pull": Pull(model="m"),
    "delete": Delete(model="m"),
    "copy": Copy(model="m", to="n"),
    "create": Create(model="m"),
    "show": Show(model="m"),
    "health": Health(),
    "logs": Logs(),
    "balance": Balance(),
}


def cells() -> dict[str, dict[str, str]]:
    """The table, by row and column."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in matrix.render().splitlines()
    ]
    return {
        row[0]: {k.strip("`"): v for k, v in zip(head[1:], row[1:], strict=True)} for row in rows
    }


def backend(kind: str) -> Backend:
    manager = matrix.plugins_by_kind()[kind].manager
    assert manager is not None
    return Backend(kind, manager, context("http://127.0.0.1:1"))


@pytest.mark.parametrize("kind", matrix.KINDS)
@pytest.mark.parametrize("name", ACTIONS)
async def test_an_action_that_is_no_there_is_refused(kind: str, name: ActionName) -> None:
    asked, told = backend(kind), cells()[matrix.ACTIONS[name]][kind]
    if told == matrix.YES:
        asked.manage(ACTIONS[name])  # not begun: nothing is sent before somebody reads it
    else:
        assert told == matrix.NO
        with pytest.raises(UnsupportedActionError) as caught:
            asked.manage(ACTIONS[name])
        assert caught.value.hint


@pytest.mark.parametrize("kind", matrix.KINDS)
async def test_a_feature_without_its_hook_is_no_there_and_refused(kind: str) -> None:
    asked, info = backend(kind), model()
    calls: dict[str, tuple[str, Callable[[], Awaitable[object]]]] = {
        "embeddings": ("embed", lambda: asked.embed(EmbedRequest(input=["a"]), info)),
        "rerank": ("rerank", lambda: asked.rerank(RerankRequest(query="a", documents=["b"]), info)),
        "making images": (
            "generate_image",
            lambda: asked.generate_image(ImageRequest(prompt="a"), info),
        ),
    }
    for row, (hook, call) in calls.items():
        if not asked.offers(hook):
            assert cells()[row][kind] == matrix.NO
            with pytest.raises(UnsupportedFeatureError):
                await call()
    if not asked.offers("complete"):
        assert cells()["raw prompts"][kind] == matrix.NO
        with pytest.raises(UnsupportedFeatureError):
            asked.complete(CompleteRequest(prompt="a"), info)


@pytest.mark.parametrize(
    ("row", "kind", "cell"),
    [
        ("pull", "ollama", "yes"),
        ("pull", "deepseek", "–"),
        ("balance", "deepseek", "yes"),
        ("tools", "llamacpp", "by model"),
        ("tools", "deepseek", "yes"),
        ("JSON schema", "llamacpp", "yes"),
        ("JSON schema", "deepseek", "–"),
        ("making images", "ollama", "–"),
        ("on your own hardware", "deepseek", "–"),
    ],
)
def test_some_cells_as_the_backends_pages_have_them(row: str, kind: str, cell: str) -> None:
    assert cells()[row][kind] == cell
