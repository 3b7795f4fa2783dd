"""Bugs a plugin's author might make, each as an edit of Acme's plugin, with who must catch it."""

from dataclasses import dataclass
from pathlib import Path

SOURCE = (Path(__file__).parent / "acme" / "plugin.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Bug:
    """Replaces `old` by `new`; further pairs in `also`. `caught_by` is the check's name."""

    name: str
    caught_by: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()

    def source(self) -> str:
        """The broken plugin.

        Raises:
            ValueError: Acme's plugin has changed, and the edit no longer fits.
        """
        text = SOURCE
        for old, new in ((self.old, self.new), *self.also):
            if old not in text:
                raise ValueError(f"{self.name}: not in the plugin: {old!r}")
            text = text.replace(old, new)
        return text


IMPORTS = '"""What Acme means to modelbay.'
_DECODE = "for event in decoder.decode(data):\n                            yield event"
_CLOSE = "for event in decoder.close():\n                yield event"
_ENCODED = "encoded = encode_chat(request, model.ref.wire_id, DIALECT)"
_STREAM = "@hookimpl\nasync def stream_chat("
_EMBED = "@hookimpl\nasync def embed("
_FETCH = 'return (await fetch_json(provider, "GET", "v1/models", into=Listing)).data'
_CLOSE_BEFORE = "sse, decoder = SSEDecoder(), ChatDecoder(DIALECT)"
_RAISE = "await raise_for_status(provider, response, model=str(model.ref))"
_TABLE = "@hookimpl\ndef capabilities() -> CapabilityTable:\n"
_WRAP = """@hookimpl
async def stream_chat(provider, request, model):
{body}

"""


def _wrapped(body: str) -> tuple[tuple[str, str], ...]:
    """The hook becomes `inner`, and another one is put around it."""
    around = _WRAP.format(body="\n".join(f"    {line}" for line in body.strip().splitlines()))
    return ((_STREAM, "async def inner("), (_EMBED, around + _EMBED))


def _around(name: str, caught_by: str, body: str, imports: str = "import asyncio") -> Bug:
    pairs = _wrapped(body)
    return Bug(
        name,
        caught_by,
        *pairs[0],
        also=(pairs[1], ("import msgspec", f"import msgspec\n{imports}")),
    )


BUGS = (
    Bug(
        "the wire id keeps its prefix",
        "test_wire_id_is_sent_bare",
        _ENCODED,
        _ENCODED.replace("model.ref.wire_id", "str(model.ref)"),
    ),
    Bug(
        "always the same model",
        "test_the_requested_model_is_the_one_asked",
        _ENCODED,
        _ENCODED.replace("model.ref.wire_id", '"tiny"'),
    ),
    Bug(
        "two ends",
        "test_stream_keeps_to_the_automaton",
        _CLOSE,
        _CLOSE + "\n            yield event",
    ),
    Bug(
        "no end",
        "test_stream_keeps_to_the_automaton",
        _CLOSE,
        _CLOSE.replace(
            "yield event", 'if event.type != "finish":\n                    yield event'
        ),
    ),
    Bug(
        "an error in mid-stream is swallowed",
        "test_an_error_after_text_keeps_the_partial_text",
        "        raise\n\n\n@hookimpl\nasync def embed",
        "        if not decoder.partial:\n            raise\n"
        '        yield Finish("stop")\n\n\n@hookimpl\nasync def embed',
        also=(("events import StreamEvent", "events import Finish, StreamEvent"),),
    ),
    Bug(
        "a missing end is a success",
        "test_a_missing_end_is_an_error",
        _CLOSE,
        "decoder.finished = True\n            " + _CLOSE,
    ),
    Bug(
        "the partial text is lost",
        "test_a_cut_is_an_error_with_the_partial_text",
        "exc.partial = decoder.partial",
        'exc.partial = ""',
    ),
    Bug(
        "every chunk is decoded by itself",
        "test_text_survives_any_cut",
        "sse.feed(block)",
        'sse.feed(block.decode("utf-8", "replace").encode())',
    ),
    Bug(
        "lines end at U+2028",
        "test_text_survives_any_cut",
        "sse.feed(block)",
        'sse.feed(block.replace("\\u2028".encode(), b"\\n"))',
    ),
    Bug(
        "all text at the end",
        "test_text_comes_while_the_server_still_talks",
        "for block in response.blocks():",
        "for block in _all(response):",
        also=(
            (
                _STREAM,
                "async def _all(response):\n    yield await read_body(response)\n\n\n" + _STREAM,
            ),
            (
                '"v1/chat/completions", json=encoded.body',
                '"v1/chat/completions", json=_few(encoded)',
            ),
            (
                "class Entry(",
                "def _few(encoded):\n    if encoded.body['model'] == 'talks':\n"
                "        encoded.body['model'] = 'tiny'\n    return encoded.body\n\n\nclass Entry(",
            ),
        ),
    ),
    _around(
        "the request outlives its stream",
        "test_early_close_reaches_the_server",
        """
queue = asyncio.Queue()
async def pump():
    try:
        async for event in inner(provider, request, model):
            queue.put_nowait(event)
    except Exception as exc:
        queue.put_nowait(exc)
    queue.put_nowait(None)
provider.memo["task"] = asyncio.create_task(pump())
while (event := await queue.get()) is not None:
    if isinstance(event, Exception):
        raise event
    yield event
""",
    ),
    _around(
        "a cancellation is swallowed",
        "test_cancellation_reaches_the_server",
        """
try:
    async for event in inner(provider, request, model):
        yield event
except asyncio.CancelledError:
    return
""",
    ),
    _around(
        "a timeout across a yield",
        "test_no_scope_is_open_across_a_yield",
        """
async with asyncio.timeout(60):
    async for event in inner(provider, request, model):
        yield event
""",
    ),
    _around(
        "a context variable across a yield",
        "test_every_step_may_run_in_a_task_of_its_own",
        """
token = TURN.set("busy")
async for event in inner(provider, request, model):
    yield event
TURN.reset(token)
""",
        'from contextvars import ContextVar\nTURN = ContextVar("turn")',
    ),
    _around(
        "each turn is sent twice",
        "test_one_turn_is_one_request",
        """
async for event in inner(provider, request, model):
    pass
async for event in inner(provider, request, model):
    yield event
""",
    ),
    _around(
        "what was thought is part of the text",
        "test_reasoning_is_apart_from_the_answer",
        """
async for event in inner(provider, request, model):
    yield TextDelta(event.text) if event.type == "reasoning" else event
""",
        "from modelbay.models.events import TextDelta",
    ),
    _around(
        "a tool call loses its id",
        "test_a_tool_call_arrives_whole",
        """
async for event in inner(provider, request, model):
    yield replace(event, id="") if event.type == "tool_call" else event
""",
        "from dataclasses import replace",
    ),
    _around(
        "turns share their text",
        "test_twenty_streams_keep_their_own_text",
        """
async for event in inner(provider, request, model):
    if event.type == "text":
        ALL.append(event.text)
        event.text = ALL[-2] if len(ALL) > 1 else event.text
    yield event
""",
        "ALL = []",
    ),
    *(
        Bug(
            f"{field} is left out",
            f"test_{field}_reaches_the_wire",
            _ENCODED,
            f'{_ENCODED}\n    encoded.body.pop("{field}", None)',
        )
        for field in ("stop", "temperature", "max_tokens")
    ),
    Bug(
        "the system message is left out",
        "test_system_message_reaches_the_wire",
        _ENCODED,
        f"{_ENCODED}\n    first = encoded.body['messages'].pop(0)\n"
        "    if first['role'] != 'system':\n        encoded.body['messages'].insert(0, first)",
    ),
    Bug(
        "tools are left out",
        "test_a_feature_is_sent_or_refused",
        _ENCODED,
        f'{_ENCODED}\n    encoded.body.pop("tools", None)',
    ),
    Bug(
        "an undeclared action is done",
        "test_the_plugin_itself_does_nothing_undeclared",
        'raise UnsupportedActionError(f"acme cannot {action.action}")',
        "yield Done()",
    ),
    Bug(
        "a refusal without a hint",
        "test_hints_are_for_what_is_missing",
        '"acme fetches models by itself: acme get NAME"',
        '" "',
    ),
    Bug(
        "the table promises what no hook does",
        "test_table_claims_only_what_hooks_can_do",
        "    server_checks_names=True,",
        "    every_model=Facts(rerank=True),",
    ),
    Bug(
        "a row without evidence",
        "test_table_rows_have_evidence",
        '"Acme model card"',
        '""',
    ),
    Bug(
        "show tells about another model",
        "test_an_action_ends_with_its_outcome",
        "yield ModelDetails(wire_id=details.id)",
        "yield Done(message=details.id)",
    ),
    Bug(
        "a second load is a change",
        "test_load_is_idempotent",
        'Done(changed=answer["changed"])',
        "Done()",
    ),
    Bug(
        "discovery loads models",
        "test_discovery_makes_no_model_load",
        _FETCH,
        _FETCH.replace("return ", "found = ")
        + '\n    for entry in found:\n        await fetch_json(provider, "GET",'
        ' f"v1/models/{entry.id}?probe=1", into=Entry)\n    return found',
    ),
    Bug(
        "an unknown state is an exception",
        "test_unheard_of_states_do_not_break_discovery",
        'STATES.get(entry.state, "unknown")',
        "STATES[entry.state]",
    ),
    Bug(
        "an unknown field is an exception",
        "test_unheard_of_fields_do_not_break_discovery",
        "class Entry(msgspec.Struct):",
        "class Entry(msgspec.Struct, forbid_unknown_fields=True):",
    ),
    Bug(
        "a failed look is an empty list",
        "test_another_answer_is_a_typed_error",
        _FETCH,
        f"try:\n        {_FETCH}\n    except BackendError:\n        return []",
    ),
    Bug(
        "a list of any size is read",
        "test_an_endless_list_is_refused_in_bounded_memory",
        "into=Listing)",
        "into=Listing, limit=10**12)",
    ),
    Bug(
        "the list is remembered for all",
        "test_a_host_opened_again_knows_nothing",
        _FETCH,
        f'if "list" not in KNOWN:\n        KNOWN["list"] = await ask(provider)\n'
        f'    return KNOWN["list"]\n\n\nasync def ask(provider):\n    {_FETCH}',
        also=(("class Entry(", "KNOWN = {}\n\n\nclass Entry("),),
    ),
    Bug(
        "a module that fills up",
        "test_module_keeps_no_state",
        _ENCODED,
        f"{_ENCODED}\n    TURNS.append(request)",
        also=(("class Entry(", "TURNS = []\n\n\nclass Entry("),),
    ),
    Bug(
        "the first key is used for all",
        "test_two_instances_keep_their_own_keys",
        "json=encoded.body",
        'json=encoded.body, headers={"Authorization": FIRST.setdefault("key", _key(provider))}',
        also=(
            (
                "class Entry(",
                "FIRST = {}\n\n\ndef _key(provider):\n    key = provider.config.api_key\n"
                "    return key.get_secret_value() if key else ''\n\n\nclass Entry(",
            ),
        ),
    ),
    Bug(
        "the first server answers for all",
        "test_two_servers_answer_for_themselves",
        'provider, "POST", "v1/chat/completions"',
        'provider, "POST", FIRST.setdefault("url", provider.base_url + "/v1/chat/completions")',
        also=(("class Entry(", "FIRST = {}\n\n\nclass Entry("),),
    ),
    Bug(
        "the key stands in the cause of an error",
        "test_secrets_echoed_by_a_server_are_not_shown",
        _RAISE,
        "if response.status >= 400:\n                body = (await read_body(response)).decode()\n"
        '                raise BackendError("refused") from ValueError(body)',
    ),
    Bug(
        "the key stands in the log of an error",
        "test_secrets_in_a_stream_s_error_are_not_shown",
        "    except BackendError as exc:",
        '    except BackendError as exc:\n        logging.getLogger("acme").warning("%s", exc)',
        also=(("import msgspec", "import msgspec\nimport logging"),),
    ),
    Bug(
        "the key stands in the log",
        "test_secrets_are_not_logged",
        _ENCODED,
        f'{_ENCODED}\n    logging.getLogger("acme").debug("%s", provider.http.headers.raw)',
        also=(("import msgspec", "import msgspec\nimport logging"),),
    ),
    Bug(
        "every refusal is the same error",
        "test_a_status_has_its_error",
        _RAISE,
        'if response.status >= 400:\n                raise BackendError("refused")',
    ),
    Bug(
        "an error that causes itself",
        "test_an_error_is_not_its_own_cause",
        "        raise\n\n\n@hookimpl\nasync def embed",
        "        raise exc from exc\n\n\n@hookimpl\nasync def embed",
    ),
    Bug(
        "Retry-After is forgotten",
        "test_retry_after_is_kept",
        "    except BackendError as exc:",
        "    except BackendError as exc:\n        exc.retry_after_s = None",
    ),
    Bug(
        "a foreign exception",
        "test_a_dead_port_is_unreachable",
        "async with open_stream(",
        "await provider.http.get('v1/models')\n        async with open_stream(",
    ),
    Bug(
        "the table asks the network",
        "test_capabilities_touch_nothing",
        _TABLE,
        f'{_TABLE}    with socket.socket() as probe:\n        probe.connect_ex(("127.0.0.1", 9))\n',
        also=(("import msgspec", "import msgspec\nimport socket"),),
    ),
    Bug(
        "importing opens a port",
        "test_importing_touches_nothing",
        "DIALECT = Dialect()",
        'DIALECT = Dialect()\nsocket.create_server(("127.0.0.1", 0)).close()',
        also=(("import msgspec", "import msgspec\nimport socket"),),
    ),
    Bug(
        "importing starts a thread",
        "test_importing_starts_no_thread",
        "DIALECT = Dialect()",
        "DIALECT = Dialect()\nthreading.Thread(target=time.sleep, args=(1,), daemon=True).start()",
        also=(("import msgspec", "import msgspec\nimport threading, time"),),
    ),
    Bug(
        "the loop waits for the network",
        "test_waiting_leaves_the_loop_free",
        _FETCH,
        'with urllib.request.urlopen(provider.base_url + "/v1/models", timeout=5) as answer:\n'
        "        return msgspec.json.decode(answer.read(), type=Listing).data",
        also=(("import msgspec", "import msgspec\nimport urllib.request"),),
    ),
    Bug(
        "vectors out of order",
        "test_embeddings_keep_their_order",
        "return await embed_over_http(provider, request, model)",
        "result = await embed_over_http(provider, request, model)\n"
        "    return result.model_copy(update={'vectors': sorted(result.vectors)})",
    ),
    # what is dropped on the way to the caller
    _around(
        "what was thought is dropped",
        "test_reasoning_is_apart_from_the_answer",
        """
async for event in inner(provider, request, model):
    if event.type != "reasoning":
        yield event
""",
    ),
    _around(
        "the usage is lost",
        "test_usage_is_told",
        """
async for event in inner(provider, request, model):
    if event.type != "usage":
        yield event
""",
    ),
    _around(
        "the usage is told the wrong way round",
        "test_usage_is_told",
        """
async for event in inner(provider, request, model):
    yield Usage(event.output_tokens, event.input_tokens) if event.type == "usage" else event
""",
        "from modelbay.models.events import Usage",
    ),
    _around(
        "a tool call never becomes whole",
        "test_a_tool_call_arrives_whole",
        """
async for event in inner(provider, request, model):
    if event.type != "tool_call":
        yield event
""",
    ),
    _around(
        "a tool call ends as if it were text",
        "test_a_tool_call_arrives_whole",
        """
async for event in inner(provider, request, model):
    yield Finish("stop") if event.type == "finish" else event
""",
        "from modelbay.models.events import Finish",
    ),
    Bug(
        "an unstreamed answer is passed over",
        "test_unstreamed_answer_is_the_same",
        "for event in decoder.decode(await read_body(response)):\n                    yield event",
        "await read_body(response)\n                decoder.decode(b'[DONE]')",
    ),
    # what is dropped on the way to the server
    Bug(
        "only the first tool is sent",
        "test_every_tool_reaches_the_wire",
        _ENCODED,
        f'{_ENCODED}\n    encoded.body["tools"] = encoded.body.get("tools", [])[:1]',
    ),
    Bug(
        "a tool choice is left out",
        "test_a_tool_choice_is_sent_or_refused",
        _ENCODED,
        f'{_ENCODED}\n    encoded.body.pop("tool_choice", None)',
    ),
    Bug(
        "the effort is left out",
        "test_an_effort_is_sent_or_noticed",
        _ENCODED,
        f'{_ENCODED}\n    encoded.body.pop("reasoning_effort", None)',
    ),
    Bug(
        "the tools of the turn before are offered again",
        "test_tools_end_with_their_turn",
        _ENCODED,
        f'{_ENCODED}\n    tools = encoded.body.get("tools") or provider.memo.get("tools")\n'
        '    if tools:\n        provider.memo["tools"] = encoded.body["tools"] = tools',
    ),
    Bug(
        "an image is left out",
        "test_an_image_is_sent_or_refused",
        _ENCODED,
        "request = request.model_copy(update={'messages': [m.model_copy(update={'content': m.text})"
        f" for m in request.messages]}})\n    {_ENCODED}",
    ),
    # lies
    Bug(
        "the table denies what a model does",
        "test_what_a_model_does_is_not_denied",
        "rows=(",
        'rows=(TableRow(pattern="caller*", facts=Facts(tools=False), evidence="a guess"),',
    ),
    Bug(
        "listed ids carry the prefix",
        "test_discovered_ids_are_bare",
        "DiscoveredModel(wire_id=entry.id",
        "DiscoveredModel(wire_id=f'{provider.id}/{entry.id}'",
    ),
    Bug(
        "list forgets a model",
        "test_list_agrees_with_discovery",
        "for e in await fetch(provider)]",
        "for e in (await fetch(provider))[1:]]",
    ),
    Bug(
        "a dead server is healthy",
        "test_a_dead_server_is_not_healthy",
        'await fetch(provider)\n            yield HealthReport(healthy=True, server="acme")',
        'yield HealthReport(healthy=True, server="acme")',
    ),
    Bug(
        "whatever answers is healthy",
        "test_another_answer_to_an_action_is_typed",
        'await fetch(provider)\n            yield HealthReport(healthy=True, server="acme")',
        'await provider.http.get("v1/models")\n'
        '            yield HealthReport(healthy=True, server="acme")',
    ),
    Bug(
        "a second unload is a change",
        "test_unload_is_idempotent",
        'Done(changed=answer["changed"])',
        'Done(changed=answer["changed"] or isinstance(action, Unload))',
    ),
    Bug(
        "an odd error is an exception",
        "test_an_error_of_any_shape_is_typed",
        _RAISE,
        "if response.status >= 400:\n"
        "                said = msgspec.json.decode(await read_body(response))\n"
        '                raise BackendError(said["error"]["message"], status=response.status)',
    ),
    # vectors
    Bug(
        "vectors are asked by the whole name",
        "test_vectors_are_asked_by_wire_id",
        "return await embed_over_http(provider, request, model)",
        "ref = model.ref.__class__(provider.id, str(model.ref))\n"
        "    model = model.model_copy(update={'ref': ref})\n"
        "    return await embed_over_http(provider, request, model)",
    ),
    Bug(
        "vectors of different lengths",
        "test_vectors_are_numbers_of_one_length",
        "return await embed_over_http(provider, request, model)",
        "result = await embed_over_http(provider, request, model)\n"
        "    vectors = [v[: 3 - at % 2] for at, v in enumerate(result.vectors)]\n"
        "    return result.model_copy(update={'vectors': vectors})",
    ),
    Bug(
        "a failed embedding has no vectors",
        "test_a_failed_embedding_is_a_typed_error",
        "return await embed_over_http(provider, request, model)",
        "try:\n        return await embed_over_http(provider, request, model)\n"
        "    except BackendError:\n        return EmbedResult(vectors=[[]] * len(request.input))",
    ),
    # secrets and the world outside
    Bug(
        "the key stands in the address",
        "test_the_key_is_in_no_address_and_no_body",
        '"v1/models", into=Listing',
        'f"v1/models?key={_key(provider)}", into=Listing',
        also=(
            (
                "class Entry(",
                "def _key(provider):\n    key = provider.config.api_key\n"
                "    return key.get_secret_value() if key else ''\n\n\nclass Entry(",
            ),
        ),
    ),
    Bug(
        "the prompt stands in the log",
        "test_prompts_are_not_logged",
        _ENCODED,
        f'{_ENCODED}\n    logging.getLogger("acme").info("asking %s", encoded.body)',
        also=(("import msgspec", "import msgspec\nimport logging"),),
    ),
    Bug(
        "the environment is read behind the host's back",
        "test_environment_is_read_by_the_host_alone",
        "DIALECT = Dialect()",
        'DIALECT = Dialect()\nDEBUG = os.environ.get("ACME_DEBUG")',
        also=(("import msgspec", "import msgspec\nimport os"),),
    ),
    Bug(
        "a hook with a default",
        "test_hook_arguments_have_no_defaults",
        "async def discover_models(provider: ProviderContext)",
        "async def discover_models(provider: ProviderContext, again=False)",
    ),
    # cost
    Bug(
        "all that came is decoded again with every block",
        "test_cost_grows_with_the_answer_alone",
        "for data in sse.feed(block):",
        "seen += block\n                    for _ in range(5): SSEDecoder().feed(seen)\n"
        "                    for data in sse.feed(block):",
        also=((_CLOSE_BEFORE, "seen = b''\n    " + _CLOSE_BEFORE),),
    ),
    _around(
        "every event is copied forty times",
        "test_a_stream_costs_little_more_than_its_bytes",
        """
async for event in inner(provider, request, model):
    for _ in range(40):
        event = deepcopy(event)
    yield event
""",
        "from copy import deepcopy",
    ),
    Bug(
        "everything is kept until the end, each time whole",
        "test_memory_is_bounded_by_the_answer",
        "for data in sse.feed(block):",
        "kept.append(b''.join(kept[-1:]) + block)\n"
        "                    for data in sse.feed(block):",
        also=((_CLOSE_BEFORE, "kept = []\n    " + _CLOSE_BEFORE),),
    ),
    _around(
        "a connection of its own for each turn",
        "test_connections_are_used_again",
        """
async with httpx.AsyncClient(trust_env=False) as client:
    await client.get(provider.base_url + "/v1/models")
async for event in inner(provider, request, model):
    yield event
""",
        "import httpx2 as httpx",
    ),
    Bug(
        "each look costs one request more",
        "test_a_second_look_costs_no_more_than_the_first",
        _FETCH,
        'looks = provider.memo["looks"] = int(str(provider.memo.get("looks", 0))) + 1\n'
        "    for _ in range(looks):\n"
        '        found = await fetch_json(provider, "GET", "v1/models", into=Listing)\n'
        "    return found.data",
    ),
    # what is asked is what was meant
    *(
        Bug(
            name,
            caught_by,
            _ENCODED,
            f"request = request.model_copy(update={{'messages': {messages}}})\n    {_ENCODED}",
        )
        for name, caught_by, messages in (
            (
                "the prompt is trimmed",
                "test_a_prompt_reaches_the_wire_whole",
                "[m.model_copy(update={'content': m.text.strip()}) for m in request.messages]",
            ),
            (
                "a long prompt is cut",
                "test_a_prompt_reaches_the_wire_whole",
                "[m.model_copy(update={'content': m.text[:8000]}) for m in request.messages]",
            ),
            (
                "only the last messages are sent",
                "test_a_prompt_reaches_the_wire_whole",
                "request.messages[-8:]",
            ),
            (
                "an empty message is left out",
                "test_a_prompt_reaches_the_wire_whole",
                "[m for m in request.messages if m.text]",
            ),
            (
                "the second system message is left out",
                "test_a_prompt_reaches_the_wire_whole",
                "[m for n, m in enumerate(request.messages)"
                " if m.role != 'system' or 'system' not in [o.role for o in request.messages[:n]]]",
            ),
            (
                "what the model said becomes the user's",
                "test_the_server_is_told_who_said_what",
                "[m.model_copy(update={'role': 'user'}) if m.role == 'assistant' else m"
                " for m in request.messages]",
            ),
            (
                "the turn before is sent again",
                "test_a_turn_knows_nothing_of_the_one_before",
                "[*provider.memo.get('said', []),"
                " *provider.memo.setdefault('said', request.messages)]",
            ),
        )
    ),
    *(
        Bug(name, caught_by, _ENCODED, f"{_ENCODED}\n    {change}")
        for name, caught_by, change in (
            (
                "a limit is invented",
                "test_no_number_is_invented",
                "encoded.body.setdefault('max_tokens', 256)",
            ),
            (
                "a temperature is invented",
                "test_no_number_is_invented",
                "encoded.body.setdefault('temperature', 0.7)",
            ),
            (
                "the limit is capped",
                "test_max_tokens_reaches_the_wire",
                "encoded.body.update({k: min(v, 4096) for k, v in encoded.body.items()"
                " if k == 'max_tokens'})",
            ),
            (
                "extra fields are dropped",
                "test_extra_reaches_the_wire_or_is_noticed",
                "[encoded.body.pop(k, None) for k in request.extra if k != 'kit_own_field']",
            ),
            (
                "every answer is asked as a stream",
                "test_a_whole_answer_is_asked_as_one",
                "encoded.body.update(stream=True, stream_options={'include_usage': True})",
            ),
        )
    ),
    _around(
        "a failed turn is asked again",
        "test_a_turn_that_fails_is_not_asked_again",
        """
for attempt in range(3):
    try:
        async for event in inner(provider, request, model):
            yield event
        return
    except BackendError as exc:
        if attempt == 2 or (exc.status or 0) < 500:
            raise
""",
    ),
    _around(
        "the list is asked before each turn",
        "test_a_turn_asks_for_nothing_besides",
        """
await fetch(provider)
async for event in inner(provider, request, model):
    yield event
""",
    ),
    Bug(
        "the path of the address is dropped",
        "test_the_path_of_an_address_is_kept",
        '"v1/models", into=Listing',
        '"http://" + provider.base_url.split("/")[2] + "/v1/models", into=Listing',
    ),
    # what is answered is what comes back
    *(
        _around(
            name,
            "test_an_answer_comes_back_as_it_is",
            f"""
async for event in inner(provider, request, model):
    yield TextDelta({change}) if event.type == "text" else event
""",
            "import unicodedata\nfrom modelbay.models.events import TextDelta",
        )
        for name, change in (
            ("line ends are made alike", 'event.text.replace("\\r", "")'),
            ("NUL is dropped", 'event.text.replace("\\0", "")'),
            ("text is normalised", 'unicodedata.normalize("NFC", event.text)'),
            ("pieces of white space are dropped", 'event.text if event.text.strip() else ""'),
        )
    ),
    _around(
        "an answer that was cut off ends with stop",
        "test_a_cut_off_answer_finishes_with_length",
        """
async for event in inner(provider, request, model):
    cut = event.type == "finish" and event.reason == "length"
    yield Finish("stop") if cut else event
""",
        "from modelbay.models.events import Finish",
    ),
    Bug(
        "every model is called loaded",
        "test_a_state_nobody_told_is_not_invented",
        'STATES.get(entry.state, "unknown")',
        '"loaded"',
    ),
    # what is left behind
    _around(
        "the prompt is printed",
        "test_a_turn_prints_nothing",
        """
print(request.messages)
async for event in inner(provider, request, model):
    yield event
""",
    ),
    _around(
        "the prompt is written to a file",
        "test_a_turn_writes_no_file",
        """
with tempfile.TemporaryFile() as file:
    file.write(b"asked")
async for event in inner(provider, request, model):
    yield event
""",
        "import tempfile",
    ),
    _around(
        "a task is left behind",
        "test_a_turn_leaves_nothing_running",
        """
TASKS.append(asyncio.create_task(asyncio.sleep(3600)))
async for event in inner(provider, request, model):
    yield event
""",
        "import asyncio\nTASKS = []",
    ),
    _around(
        "a cancelled turn tidies up at leisure",
        "test_cancellation_reaches_the_server",
        """
try:
    async for event in inner(provider, request, model):
        yield event
except asyncio.CancelledError:
    await asyncio.sleep(1.5)
    raise
""",
    ),
    # management that does nothing
    *(
        Bug(
            f"{name} does nothing",
            "test_a_change_is_asked_of_the_server",
            'raise UnsupportedActionError(f"acme cannot {action.action}")',
            "yield Done()",
            also=(
                ('"load", "unload"}', f'"load", "unload", "{name}"}}'),
                ('    hints={"pull": "acme fetches models by itself: acme get NAME"},\n', ""),
            ),
        )
        for name in ("pull", "delete", "copy", "create")
    ),
    Bug(
        "a copy that is none",
        "test_a_copy_is_listed_and_can_be_deleted",
        'raise UnsupportedActionError(f"acme cannot {action.action}")',
        'await provider.http.get(f"v1/models/{action.model}")\n            yield Done()',
        also=(('"load", "unload"}', '"load", "unload", "copy", "delete"}'),),
    ),
)
