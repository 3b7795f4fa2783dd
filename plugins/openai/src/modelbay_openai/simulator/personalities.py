"""Which server a simulated one pretends to be: everything they do differently, as data.

Source: the rows of `modelbay_openai.dialects`; none of it was compared with a running server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ErrorShape = Literal["openai", "vllm", "sglang", "text", "detail", "kobold", "openrouter"]
NoRoute = Literal["openai", "fastapi", "lmstudio", "kobold"]


@dataclass(frozen=True, slots=True)
class Personality:
    """One server software.

    Attributes:
        version: Where the server tells one.
        owner: ``owned_by`` in its list.
        api: Path of the API.
        headers: Of every answer.
        errors: How it writes an error.
        no_route: How it answers an unknown path.
        reasoning: The field of a thought.
        ping: The comment it sends during silence.
        empty: Status of a refusal because the money is gone.
        refuses: Request fields it does not know and refuses.
        thinkers_refuse_max_tokens: A model that thinks wants ``max_completion_tokens``.
        tool_choice_object: It takes the standard object.
        json_object: It takes ``response_format`` ``json_object``.
        checks_names: It refuses unknown models; the others answer with the first one.
        open_list: The list needs no key.
    """

    name: str
    version: str = ""
    owner: str = ""
    api: str = "/v1"
    headers: tuple[tuple[str, str], ...] = ()
    errors: ErrorShape = "openai"
    no_route: NoRoute = "fastapi"
    reasoning: Literal["reasoning", "reasoning_content"] = "reasoning_content"
    ping: str = ""
    empty: int = 402
    refuses: frozenset[str] = frozenset()
    thinkers_refuse_max_tokens: bool = False
    tool_choice_object: bool = True
    json_object: bool = True
    checks_names: bool = True
    open_list: bool = False


_ALL = (
    Personality(
        "openai",
        owner="system",
        headers=(("openai-version", "2020-10-01"), ("x-request-id", "req_simulated")),
        no_route="openai",
        empty=429,
        refuses=frozenset({"top_k", "min_p", "thinking", "chat_template_kwargs"}),
        thinkers_refuse_max_tokens=True,
    ),
    Personality(
        "vllm",
        version="0.11.2",
        owner="vllm",
        headers=(("Server", "uvicorn"),),
        errors="vllm",
        reasoning="reasoning",
    ),
    Personality(
        "sglang",
        version="0.5.6",
        owner="sglang",
        headers=(("Server", "uvicorn"),),
        errors="sglang",
        checks_names=False,
    ),
    Personality(
        "lmstudio",
        owner="organization_owner",
        headers=(("X-Powered-By", "Express"),),
        errors="text",
        no_route="lmstudio",
        reasoning="reasoning",
        tool_choice_object=False,
        json_object=False,
    ),
    Personality(
        "tabbyapi",
        owner="tabbyAPI",
        headers=(("Server", "uvicorn"),),
        errors="detail",
        checks_names=False,
    ),
    Personality(
        "koboldcpp",
        version="1.123",
        owner="koboldcpp",
        headers=(("Server", "ConcedoLlamaForKoboldServer"),),
        errors="kobold",
        no_route="kobold",
        checks_names=False,
        open_list=True,
    ),
    Personality(
        "openrouter",
        api="/api/v1",
        errors="openrouter",
        no_route="openai",
        reasoning="reasoning",
        ping=" OPENROUTER PROCESSING",
        open_list=True,
    ),
)

PERSONALITIES: Mapping[str, Personality] = {one.name: one for one in _ALL}
