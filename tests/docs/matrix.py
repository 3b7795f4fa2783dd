"""The README's table of kinds against actions and features, made from the plugins' own tables.

Nothing is asked of a server: a cell says what holds for every server of that kind, or that it is
found out for each server and model.
"""

from collections.abc import Mapping
from functools import cache
from typing import get_args

from docs.docstrings import table
from modelbay.context import ProviderContext
from modelbay.host.loader import Plugin, load_plugins
from modelbay.host.resources import HostResources
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.manage import ActionName
from modelbay.models.provider import ProviderConfig

KINDS = ("llamacpp", "embedded", "ollama", "llama-swap", "deepseek", "openai")
YES, NO, SOME = "yes", "–", "by model"

# What people read, the field of `Facts`, and the hook without which there is none of it.
FEATURES = (
    ("tools", "tools", "stream_chat"),
    ("several tools at once", "parallel_tools", "stream_chat"),
    ("reasoning", "reasoning", "stream_chat"),
    ("JSON mode", "json_mode", "stream_chat"),
    ("JSON schema", "json_schema", "stream_chat"),
    ("images as input", "vision", "stream_chat"),
    ("audio as input", "audio", "stream_chat"),
    ("embeddings", "embeddings", "embed"),
    ("rerank", "rerank", "rerank"),
    ("making images", "image_generation", "generate_image"),
)
HOOKS = (("raw prompts", "complete"), ("tells when its list changes", "watch_models"))
ACTIONS: Mapping[ActionName, str] = {
    "list": "list models",
    "running": "what is in memory (`ps`)",
    "load": "load",
    "unload": "unload",
    "pull": "pull",
    "delete": "delete (`rm`)",
    "copy": "copy (`cp`)",
    "create": "create",
    "show": "show",
    "health": "health",
    "logs": "logs",
    "balance": "balance",
}
assert set(ACTIONS) == set(get_args(ActionName))


@cache
def plugins_by_kind() -> dict[str, Plugin]:
    """The first-party plugins, in the order of the columns."""
    loaded = {plugin.kind: plugin for plugin in load_plugins({}).plugins}
    return {kind: loaded[kind] for kind in KINDS}


def table_of(plugin: Plugin) -> CapabilityTable:
    """What a plugin knows of its kind, with nothing configured."""
    assert plugin.manager is not None
    config = ProviderConfig(id="any", kind=plugin.kind, base_url="http://127.0.0.1:1")
    provider = ProviderContext(config, HostResources({}))
    found = plugin.manager.hook.capabilities(provider=provider)
    assert isinstance(found, CapabilityTable)
    return found


def offers(plugin: Plugin, hook: str) -> bool:
    assert plugin.manager is not None
    return bool(getattr(plugin.manager.hook, hook).get_hookimpls())


def feature(plugin: Plugin, known: CapabilityTable, field: str, hook: str) -> str:
    if not offers(plugin, hook):
        return NO
    rows = {getattr(row.facts, field) for row in known.rows}
    always = getattr(known.every_model, field)
    if always or rows == {True}:
        return YES
    return NO if always is False and True not in rows else SOME


def render() -> str:
    """The table as Markdown."""
    plugins = plugins_by_kind()
    tables = {kind: table_of(plugin) for kind, plugin in plugins.items()}
    rows = [["chat, streaming, usage", *(YES for _ in plugins)]]
    for title, field, hook in FEATURES:
        cells = [feature(plugins[kind], tables[kind], field, hook) for kind in plugins]
        rows.append([title, *cells])
    for title, hook in HOOKS:
        rows.append([title, *(YES if offers(plugins[kind], hook) else NO for kind in plugins)])
    for action, title in ACTIONS.items():
        rows.append([title, *(YES if action in tables[kind].actions else NO for kind in plugins)])
    rows.append(["on your own hardware", *(YES if tables[k].local else NO for k in plugins)])
    return table(["", *(f"`{kind}`" for kind in plugins)], rows)
