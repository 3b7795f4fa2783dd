"""A model file, made ready to answer."""

from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay_embedded.config import EmbeddedOptions
from modelbay_embedded.discovery import (
    WELCOME,
    ModelFile,
    context_length,
    model_file,
    require_engine,
)
from modelbay_embedded.engine import EngineOptions, Mode
from modelbay_embedded.engines import Engines, Loaded


async def make_ready(provider: ProviderContext, name: str) -> Loaded:
    """Load the model unless it is loaded, and count one more request on it.

    Call `Engines.release` when the request has ended.

    Raises:
        ModelNotFoundError: There is no such file.
        BackendError: It cannot be loaded; the message names the file and the reason.
    """
    require_engine()
    file = await model_file(provider, name)
    options = engine_options(file, provider.options(EmbeddedOptions))
    return await Engines.of(provider).use(file.found.name, options, file.found.size_bytes)


def engine_options(file: ModelFile, options: EmbeddedOptions) -> EngineOptions:
    """How this file is loaded.

    Raises:
        BackendError: Its header says already that it cannot be.
    """
    found, header = file.found, file.header
    if header is None or header.is_projector:
        raise BackendError(
            f"the model '{found.name}' cannot be loaded: {found.path}:"
            f" {file.problem or 'it is a projector, which runs only beside a model'}",
            model=found.name,
            hint="download the file again",
        )
    mode: Mode = "rerank" if header.is_rerank else "embedding" if header.is_embedding else "chat"
    return EngineOptions(
        model=str(found.path),
        projector=None if found.projector is None else str(found.projector),
        alias=found.name,
        context_length=context_length(header, options),
        parallel=options.parallel,
        # A table look-up is quicker in one thread than the waiting for a second one.
        threads=1 if found.name == WELCOME else options.threads,
        gpu_layers=options.gpu_layers,
        mode=mode,
    )
