"""What the kit does not ask of modelbay_quill/plugin.py."""

# mypy: disable-error-code="import-not-found"

import pytest
from modelbay_quill.target import target

from modelbay.models.manage import Done, Unload
from modelbay.testing.conformance.bay import Bay


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_unload_without_a_name_dries_every_pen() -> None:
    with target() as made:
        made.simulator.wet = {"goose", "raven"}
        async with Bay.open(made) as bay:
            for changed in (True, False):
                async with bay.host.manage(made.config.id, Unload()) as events:
                    assert [event async for event in events] == [Done(changed=changed)]
        assert made.simulator.wet == set()
