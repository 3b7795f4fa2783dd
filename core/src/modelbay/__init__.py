"""One bay for every model you can run.

Every public name is imported when it is first used: importing this package opens no socket and
loads neither Pydantic, nor an HTTP client, nor a plugin.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelbay.errors import ModelbayError as ModelbayError
    from modelbay.host.host import Host as Host
    from modelbay.host.sync import SyncHost as SyncHost
    from modelbay.models.chat import ChatRequest as ChatRequest
    from modelbay.models.chat import ChatResult as ChatResult
    from modelbay.models.chat import ImagePart as ImagePart
    from modelbay.models.chat import Message as Message
    from modelbay.models.chat import Tool as Tool
    from modelbay.models.chat import user as user
    from modelbay.models.media import EmbedRequest as EmbedRequest
    from modelbay.models.media import ImageRequest as ImageRequest
    from modelbay.models.provider import ProviderConfig as ProviderConfig
    from modelbay.refs import ModelRef as ModelRef
    from modelbay.refs import parse_model_ref as parse_model_ref

_PUBLIC = {
    "ChatRequest": "models.chat",
    "ChatResult": "models.chat",
    "EmbedRequest": "models.media",
    "Host": "host.host",
    "ImagePart": "models.chat",
    "ImageRequest": "models.media",
    "Message": "models.chat",
    "ModelRef": "refs",
    "ModelbayError": "errors",
    "ProviderConfig": "models.provider",
    "SyncHost": "host.sync",
    "Tool": "models.chat",
    "parse_model_ref": "refs",
    "user": "models.chat",
}

if not TYPE_CHECKING:  # a visible one would make a type checker accept any name

    def __getattr__(name):
        if name not in _PUBLIC:
            raise AttributeError(f"module 'modelbay' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"modelbay.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_PUBLIC})
