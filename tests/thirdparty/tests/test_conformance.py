"""Quill under the conformance kit, with two hundred turns in a row."""

# mypy: disable-error-code="import-not-found"

from collections.abc import Iterator

import pytest
from modelbay_quill.target import target as quill

from modelbay.testing import ProviderConformance, Target
from modelbay.testing.conformance.soak import SoakChecks


class TestQuill(ProviderConformance, SoakChecks):
    """Everything the highest level asks for."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with quill() as made:
            yield made
