"""Known servers as data: how each differs, how it is recognised, and how that is known.

A row is a claim about somebody else's software; ``evidence`` says where it can be checked. What a
row does not say is the standard, and a user's ``dialect`` switches win over every row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelbay.models.capabilities import Facts
from modelbay.wire.openai_chat import Dialect

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """One server software, or one hosted service.

    Attributes:
        name: What the option ``server`` calls it.
        title: What people call it.
        evidence: Where the claims of this row can be checked.
        older: Dialects of older versions: each holds below its version, the lowest first.
        hosts: Host names under which the service lives.
        owners: Values of ``owned_by`` in its model list.
        header: A header of its answers, in lower case, and text in that header's value.
        api: Path of the API under an address without any path.
        listed_is_loaded: It lists nothing but what it has in memory.
        names_are_checked: It refuses model names it does not know.
        effort: ``field`` takes ``reasoning_effort``, ``object`` takes ``reasoning: {effort}``.
        pings: It sends comments during silence, so that a silent stream is a dead one.
        ranks_in_a_list: Its reranking answers a bare list of ``{index, score}``.
        ready: A path that answers 200 once it can serve; empty if there is none.
        facts: True of each of its models.
        hints: The next step for an error, by the error's code.
        own_kind: The kind whose plugin can do more with it.
    """

    name: str
    title: str
    evidence: str
    dialect: Dialect = field(default_factory=Dialect)
    older: tuple[tuple[Version, Dialect], ...] = ()
    hosts: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    header: tuple[str, str] | None = None
    api: str = "v1"
    listed_is_loaded: bool = False
    names_are_checked: bool = False
    effort: Literal["field", "object"] = "field"
    pings: bool = False
    ranks_in_a_list: bool = False
    ready: str = ""
    facts: Facts = field(default_factory=Facts)
    hints: Mapping[str, str] = field(default_factory=dict)
    own_kind: str = ""

    def dialect_of(self, version: str | None) -> Dialect:
        """The dialect of one version; that of the newest where the version is not known."""
        number = version_number(version)
        if number:
            for below, dialect in self.older:
                if number < below:
                    return dialect
        return self.dialect


def version_number(text: str | None) -> Version:
    """``0.11.2rc1`` as ``(0, 11, 2)``; empty for what is no version."""
    numbers: list[int] = []
    for part in (text or "").lstrip("v").split(".")[:4]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits or len(digits) > 9:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


# No field for earlier reasoning: some servers refuse a message with a field they do not know.
# Whoever knows theirs better says so with the switch `reasoning_history`.
UNKNOWN = Server(
    name="",
    title="an OpenAI-compatible server",
    evidence="the common subset of the servers below",
)

SERVERS: tuple[Server, ...] = (
    Server(
        name="openai",
        title="OpenAI",
        evidence="OpenAI API reference, chat completions: max_tokens is deprecated and refused by"
        " reasoning models; unknown arguments are refused (HTTP 400 'Unrecognized request argument"
        " supplied: top_k'); an assistant message has no field for reasoning",
        dialect=Dialect(
            max_tokens_field="max_completion_tokens",
            top_k=False,
            developer_role=True,
            refusals=True,
            reasoning_wanted=False,
        ),
        hosts=("api.openai.com",),
        names_are_checked=True,
        hints={"quota_exceeded": "add credit at platform.openai.com, or choose another provider"},
    ),
    Server(
        name="openrouter",
        title="OpenRouter",
        evidence="openrouter.ai/docs: models, errors, reasoning-tokens; comment lines"
        " ': OPENROUTER PROCESSING' in streams",
        dialect=Dialect(reasoning_history="reasoning"),
        hosts=("openrouter.ai",),
        api="api/v1",
        names_are_checked=True,
        effort="object",
        pings=True,
        hints={
            "quota_exceeded": "add credit at openrouter.ai, raise the key's limit, or send a"
            " smaller max_tokens"
        },
    ),
    Server(
        name="vllm",
        title="vLLM",
        evidence="vllm-project/vllm: entrypoints/openai/{engine,chat_completion}/protocol.py"
        " (owned_by, max_model_len, response_format, reasoning_effort, top_k, named tool_choice);"
        " docs 0.11.2, reasoning outputs: reasoning_content became reasoning",
        dialect=Dialect(reasoning_history="reasoning"),
        older=(((0, 11, 2), Dialect(reasoning_history="reasoning_content")),),
        owners=("vllm",),
        listed_is_loaded=True,
        names_are_checked=True,
        ready="health",
        facts=Facts(json_mode=True, json_schema=True),
        hints={
            "context_length_exceeded": "shorten the conversation or lower max_tokens, or start vLLM"
            " with a larger --max-model-len",
        },
    ),
    Server(
        name="sglang",
        title="SGLang",
        evidence="sgl-project/sglang: srt/entrypoints/openai/protocol.py (owned_by, max_model_len,"
        " reasoning_content in messages, reasoning_effort, top_k; a response format takes the place"
        " of the tool calls' own constraint; RerankResponse)",
        dialect=Dialect(reasoning_history="reasoning_content", tools_with_format=False),
        owners=("sglang",),
        listed_is_loaded=True,
        ranks_in_a_list=True,
        ready="health",
        facts=Facts(json_mode=True, json_schema=True),
        hints={
            "context_length_exceeded": "shorten the conversation, or start SGLang with a larger"
            " --context-length",
        },
    ),
    Server(
        name="lmstudio",
        title="LM Studio",
        evidence="lmstudio.ai/docs: REST API v0 and v1, API changelog; lmstudio-bug-tracker #670"
        " (an object as tool_choice is refused), #618 and #2085 (an unknown path answers 200);"
        " response_format json_object is refused: 'must be json_schema or text'",
        dialect=Dialect(named_tool_choice="single"),
        owners=("organization_owner",),
        facts=Facts(json_mode=False, json_schema=True),
        hints={
            "context_length_exceeded": "shorten the conversation, or load the model with a larger"
            " context: lms load MODEL --context-length N",
        },
    ),
    Server(
        name="tabbyapi",
        title="TabbyAPI",
        evidence="theroyallab/tabbyAPI: endpoints/core/router.py and types/model.py (owned_by,"
        " parameters.max_seq_len, /health), endpoints/OAI/types/chat_completion.py"
        " (reasoning_content in messages, reasoning_effort)",
        dialect=Dialect(reasoning_history="reasoning_content"),
        owners=("tabbyapi",),
        ready="health",
        hints={
            "context_length_exceeded": "shorten the conversation, or load the model with a larger"
            " max_seq_len",
        },
    ),
    Server(
        name="koboldcpp",
        title="KoboldCpp",
        evidence="LostRuins/koboldcpp: koboldcpp.py (Server header, owned_by, /api/extra/version,"
        " /api/extra/true_max_context_length, 503 while busy)",
        owners=("koboldcpp",),
        header=("server", "ConcedoLlamaForKobold"),
        listed_is_loaded=True,
        hints={
            "context_length_exceeded": "shorten the conversation, or start KoboldCpp with a larger"
            " --contextsize",
        },
    ),
    Server(
        name="llamacpp",
        title="llama.cpp",
        evidence="docs/backends/llamacpp.md",
        dialect=Dialect(
            named_tool_choice="single",
            tools_with_format=False,
            reasoning_history="reasoning_content",
        ),
        owners=("llamacpp",),
        header=("server", "llama.cpp"),
        facts=Facts(json_mode=True, json_schema=True),
        own_kind="llamacpp",
    ),
    Server(
        name="ollama",
        title="Ollama",
        evidence="docs/backends/ollama.md: its OpenAI layer reads a fixed set of fields",
        dialect=Dialect(top_k=False, reasoning_history="reasoning"),
        owners=("library",),
        own_kind="ollama",
    ),
    Server(
        name="deepseek",
        title="DeepSeek",
        evidence="api-docs.deepseek.com: guides/thinking_mode (reasoning_content of earlier answers"
        " goes back in requests with tools), api/create-chat-completion (fields), api/list-models"
        " (owned_by)",
        dialect=Dialect(
            top_k=False,
            reasoning_history="reasoning_content",
            renamed={"max_completion_tokens": "max_tokens"},
        ),
        hosts=("api.deepseek.com",),
        owners=("deepseek",),
        names_are_checked=True,
        facts=Facts(tools=True, json_mode=True, json_schema=False),
        hints={"quota_exceeded": "top up the DeepSeek account, or choose another provider"},
        own_kind="deepseek",
    ),
    Server(
        name="llama-swap",
        title="llama-swap",
        evidence="it passes requests on to whatever it starts",
        owners=("llama-swap",),
        own_kind="llama-swap",
    ),
)

BY_NAME: Mapping[str, Server] = {server.name: server for server in SERVERS}
BY_OWNER: Mapping[str, Server] = {owner: server for server in SERVERS for owner in server.owners}
BY_HOST: Mapping[str, Server] = {host: server for server in SERVERS for host in server.hosts}
