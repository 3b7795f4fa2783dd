"""The model files on this machine, as models."""

import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from modelbay.config import locations
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, BackendUnreachableError, ModelNotFoundError
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay_embedded.config import DEFAULT_CONTEXT, EmbeddedOptions, home_of
from modelbay_embedded.engines import Engines
from modelbay_embedded.gguf_file import GgufError, GgufInfo, read_gguf
from modelbay_embedded.stores import FoundModel, Search, find_models
from modelbay_embedded.welcome import ensure_welcome

WELCOME = "welcome"
WELCOME_NAME = "Built-in welcome text (not a language model)"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file with what its header says, or why it cannot be used."""

    found: FoundModel
    header: GgufInfo | None
    problem: str | None = None


async def discover(provider: ProviderContext) -> list[DiscoveredModel]:
    """Every model file in the stores; without a usable one the welcome model, as a stand-in.

    Raises:
        BackendUnreachableError: The engine's wheel is not installed here.
    """
    require_engine()
    options = provider.options(EmbeddedOptions)
    files = await model_files(provider)
    engines = Engines.of(provider)
    models = [_described(file, options, engines) for file in files.values()]
    if all(model.state == "failed" for model in models):
        models.append(_welcome(engines))
    return models


def require_engine() -> None:
    """Raises BackendUnreachableError: The engine's wheel is not installed here."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise BackendUnreachableError(
            "the llama.cpp engine (xllamacpp) is not installed for this platform",
            hint="pip install xllamacpp   # or start a server: llama-server, Ollama, llama-swap",
            stage="connect",
        )


async def model_file(provider: ProviderContext, name: str) -> ModelFile:
    """One model by its wire id or an alias; the welcome model is built when it is asked for.

    Raises:
        ModelNotFoundError: There is no such file.
    """
    files = await model_files(provider)
    found = files.get(name) or next(
        (file for file in files.values() if name in file.found.aliases), None
    )
    if found is None and name == WELCOME:
        path = await anyio.to_thread.run_sync(_build_welcome, _welcome_folder(provider))
        size = path.stat().st_size
        return ModelFile(FoundModel(WELCOME, path, "modelbay", path.parent, size), read_gguf(path))
    if found is None:
        raise ModelNotFoundError(
            f"there is no model file '{name}'",
            model=name,
            hint=f"modelbay models {provider.id} --refresh",
        )
    return found


async def model_files(provider: ProviderContext) -> dict[str, ModelFile]:
    """Search the stores in a thread; headers are read once for each file as it is."""
    return await anyio.to_thread.run_sync(_search, provider, abandon_on_cancel=True)


def search(provider: ProviderContext) -> Search:
    """Every place that was searched, for ``doctor``."""
    env = dict(provider.resources.env)
    extra = provider.options(EmbeddedOptions).folders
    named = [*extra, *filter(None, [env.get("MODELBAY_MODELS")])]
    env["MODELBAY_MODELS"] = os.pathsep.join(named)
    return find_models(env, home_of(env))


def _search(provider: ProviderContext) -> dict[str, ModelFile]:
    # Kept between looks, and filled by a look that was given up as well: the next one is quicker.
    known = provider.memo.setdefault("headers", {})
    assert isinstance(known, dict)
    files: dict[str, ModelFile] = {}
    for found in search(provider).models:
        files[found.name] = _with_header(found, known)
    return files


def _with_header(found: FoundModel, known: dict[object, ModelFile]) -> ModelFile:
    try:
        status = found.path.stat()
        key = (found, status.st_size, status.st_mtime_ns)
        if key not in known:
            known[key] = ModelFile(found, read_gguf(found.path))
        return known[key]
    except (GgufError, OSError) as exc:
        return ModelFile(found, None, getattr(exc, "reason", None) or str(exc))


def context_length(header: GgufInfo, options: EmbeddedOptions) -> int:
    """Tokens the model is loaded with."""
    return options.context_length or min(header.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def _described(file: ModelFile, options: EmbeddedOptions, engines: Engines) -> DiscoveredModel:
    found, header = file.found, file.header
    if header is None or header.is_projector:
        return DiscoveredModel(
            wire_id=found.name,
            aliases=found.aliases,
            state="failed",
            size_bytes=found.size_bytes,
            problem=file.problem or "a projector, which runs only beside a model",
            details={"store": found.store},
        )
    vectors = header.is_embedding or header.is_rerank
    size = context_length(header, options)
    return DiscoveredModel(
        wire_id=found.name,
        name=header.name or found.name,
        aliases=found.aliases,
        facts=Facts(
            context_window=size,
            trained_context=header.context_length,
            configured_context=options.context_length,
            tools=header.template_has_tools and not vectors,
            reasoning=header.template_has_reasoning and not vectors,
            vision=found.projector is not None,
            embeddings=header.is_embedding,
            rerank=header.is_rerank,
        ),
        evidence={
            "": "the file's header",
            "context_window": "contextLength of the provider"
            if options.context_length
            else f"the trained length, at most {DEFAULT_CONTEXT} unless contextLength says else",
            "configured_context": "contextLength of the provider",
            "vision": "a projector file beside the model",
            "tools": "the file's chat template",
            "reasoning": "the file's chat template",
        },
        state=engines.state(found.name),
        problem=engines.problem(found.name),
        loaded_context=size if engines.state(found.name) == "loaded" else None,
        size_bytes=found.size_bytes,
        family=header.architecture,
        quantization=header.quantization,
        details={"store": found.store},
    )


def _welcome(engines: Engines) -> DiscoveredModel:
    return DiscoveredModel(
        wire_id=WELCOME,
        name=WELCOME_NAME,
        origin="stand_in",
        state=engines.state(WELCOME),
        facts=Facts(
            tools=False,
            vision=False,
            reasoning=False,
            embeddings=False,
            json_mode=False,
            json_schema=False,
        ),
        evidence={"": "it gives one fixed text"},
    )


def _build_welcome(folder: Path) -> Path:
    """The welcome model's file, in the cache folder or, where that cannot be written, elsewhere.

    Raises:
        BackendError: Nothing can be written anywhere.
    """
    try:
        return ensure_welcome(folder)
    except OSError:  # a home that is read-only, or not there
        pass
    elsewhere = (
        Path(tempfile.gettempdir()) / f"modelbay-{os.getuid() if os.name == 'posix' else 'user'}"
    )
    try:
        return ensure_welcome(elsewhere)
    except OSError as exc:
        raise BackendError(
            f"the welcome model cannot be written to {folder} or {elsewhere}: {exc.strerror}",
            model=WELCOME,
            hint="set MODELBAY_HOME to a folder that can be written",
        ) from exc


def _welcome_folder(provider: ProviderContext) -> Path:
    return locations(provider.resources.env).cache / "embedded"
