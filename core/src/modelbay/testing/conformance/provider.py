"""All checks in one class."""

from modelbay.testing.conformance.capabilities import CapabilityChecks
from modelbay.testing.conformance.chat import ChatChecks
from modelbay.testing.conformance.closing import ClosingChecks
from modelbay.testing.conformance.deadlines import DeadlineChecks
from modelbay.testing.conformance.declarations import DeclarationChecks
from modelbay.testing.conformance.discovery import DiscoveryChecks
from modelbay.testing.conformance.errors import ErrorChecks
from modelbay.testing.conformance.features import FeatureChecks, ReasoningChecks, ToolChecks
from modelbay.testing.conformance.hygiene import HygieneChecks
from modelbay.testing.conformance.interruption import InterruptionChecks
from modelbay.testing.conformance.isolation import IsolationChecks, SecrecyChecks
from modelbay.testing.conformance.management import ManagementChecks
from modelbay.testing.conformance.media import MediaChecks
from modelbay.testing.conformance.packaging import PackagingChecks
from modelbay.testing.conformance.performance import PerformanceChecks
from modelbay.testing.conformance.prompts import PromptChecks
from modelbay.testing.conformance.streaming import StreamChecks


class ProviderConformance(
    PackagingChecks,
    DeclarationChecks,
    CapabilityChecks,
    DiscoveryChecks,
    ChatChecks,
    PromptChecks,
    StreamChecks,
    ClosingChecks,
    InterruptionChecks,
    ToolChecks,
    ReasoningChecks,
    FeatureChecks,
    MediaChecks,
    ErrorChecks,
    HygieneChecks,
    DeadlineChecks,
    ManagementChecks,
    IsolationChecks,
    SecrecyChecks,
    PerformanceChecks,
):
    """What every provider has to hold to. Subclass it and give the fixture `target`."""
