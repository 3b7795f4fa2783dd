"""The kit for any OpenAI-compatible server, in front of several personalities."""

from collections.abc import Iterator

import pytest

from modelbay.testing.conformance import ProviderConformance, Target
from modelbay.testing.conformance.discovery import DiscoveryChecks
from modelbay.testing.conformance.features import FeatureChecks
from modelbay.testing.conformance.management import ManagementChecks
from modelbay.testing.conformance.media import MediaChecks
from modelbay.testing.conformance.soak import SoakChecks
from modelbay_openai.simulator.target import target


class _Of:
    """A server of one sort."""

    personality: str

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with target(self.personality) as made:
            yield made


class TestOpenAI(_Of, ProviderConformance, SoakChecks):
    """The standard itself."""

    personality = "openai"


@pytest.mark.soak
class TestVLLM(_Of, ProviderConformance):
    """Recognised by its list; one look more."""

    personality = "vllm"


@pytest.mark.soak
class TestLMStudio(_Of, ProviderConformance):
    """Loads on demand; unknown paths answer 200; one look more."""

    personality = "lmstudio"


@pytest.mark.soak
class TestOpenRouter(_Of, ProviderConformance):
    """A hosted service with comments in its streams."""

    personality = "openrouter"


# The others differ in what they are asked besides the list, and in little else.


@pytest.mark.soak
class TestSGLang(_Of, DiscoveryChecks, ManagementChecks, FeatureChecks, MediaChecks):
    """Rankings without an object."""

    personality = "sglang"


@pytest.mark.soak
class TestTabbyAPI(_Of, DiscoveryChecks, ManagementChecks):
    """Tells the model in memory by a route of its own."""

    personality = "tabbyapi"


@pytest.mark.soak
class TestKoboldCpp(_Of, DiscoveryChecks, ManagementChecks):
    """Recognised by a header; two looks more."""

    personality = "koboldcpp"
