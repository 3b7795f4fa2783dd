"""The kit for the embedded engine: real children behind every check."""

from pathlib import Path

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Ability, Calls, ProviderConformance, Target, Thinks
from tiny_gguf import write_tiny_gguf

pytestmark = pytest.mark.real

SAYS = "Hello from a file on this very machine."
CANNOT: dict[Ability, str] = {
    "address": "it starts its own children",
    "faults": "there is no server to go wrong, only a child; test_plugin.py kills it",
    "requests": "nobody stands between the host and its child",
    "streams": "nobody stands between the host and its child",
    "loads": "nobody stands between the host and its child; test_plugin.py counts them",
    "rerank": "no tiny model of that sort could be made",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders, each with a model `tiny` that says a text of its own."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    write_tiny_gguf(first / "tiny.gguf", say=SAYS)
    write_tiny_gguf(first / "endless.gguf", say="Never ending, ", endless=True, slow=True)
    write_tiny_gguf(first / "noise.gguf")
    write_tiny_gguf(first / "vectors.gguf", pooling="mean", template=None)
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    write_tiny_gguf(first / "caller.gguf", say=call, template="tools")
    thought = f"<think>\nFirst I think.\n</think>\n\n{SAYS}"
    write_tiny_gguf(first / "thinker.gguf", say=thought, template="tools")
    write_tiny_gguf(second / "tiny.gguf", say="The second folder speaks.")
    return first, second


class FolderTarget(Target):
    """Files in a folder; the other folder is the second server."""

    other: "FolderTarget | None" = None

    def second(self) -> Target:
        return super().second() if self.other is None else self.other


def target_for(folder: Path, says: str, **more: object) -> FolderTarget:
    config = ProviderConfig.model_validate(
        {
            "id": "files",
            "kind": "embedded",
            "folders": [str(folder)],
            "threads": 1,
            "probeTimeoutS": 20,
        }
    )
    return FolderTarget(
        plugin="modelbay_embedded.plugin",
        config=config,
        model="tiny",
        says=says,
        cannot=CANNOT,
        **more,  # type: ignore[arg-type]
    )


class TestEmbedded(ProviderConformance):
    """Files, run by real engines."""

    @pytest.fixture
    def target(self, folders: tuple[Path, Path]) -> Target:
        first = target_for(
            folders[0],
            SAYS,
            endless="endless",
            json_model="noise",
            embedder="vectors",
            calls=Calls("caller", "weather", {"city": "Oslo"}),
            thinks=Thinks("thinker", "First I think.", SAYS),
        )
        first.other = target_for(folders[1], "The second folder speaks.")
        return first
