"""The child process: one loaded model behind llama.cpp's own HTTP server.

    python -P -m modelbay_embedded.engine  <options, one JSON line on stdin>

It answers with one JSON line on stdout, ``{"url": ..., "pid": ...}``, when the model can be asked,
or ends with a reason on stderr: code 3 when the engine is not installed, another one (or a signal,
from a failed assertion) when the file cannot be loaded. It ends when stdin closes, so it cannot
outlive the process that started it, and ignores the terminal's Ctrl-C, which is meant for that one.

Imports the standard library and ``xllamacpp`` alone: it must start fast and share nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, NoReturn, Protocol

EXIT_FAILED = 1
LOG_S = 0.3  # for the log of a load that failed
EXIT_NOT_INSTALLED = 3
REASON_PREFIX = "modelbay engine: "

Mode = Literal["chat", "embedding", "rerank"]

_LOG_LIMIT_BYTES = 1 << 20
_LOG_LOOK_S = 30.0
# llama.cpp keeps up to 8 GiB of old prompts in memory unless told otherwise; on a desktop's spare
# memory that is too much for a default nobody asked for.
_PROMPT_CACHE_MIB = 512
_LARGEST_BATCH = 8192  # tokens; the work buffers grow with it


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What the child is told. The API key travels beside it, and never on the command line."""

    model: str
    """Path of the file; the first one of a model in several."""
    projector: str | None = None
    alias: str | None = None
    """The name the server answers to; the file's name when left out."""
    context_length: int = 0
    """Tokens for all slots together; 0 takes what the model was trained for, which may need much
    memory."""
    parallel: int = 1
    """Requests served side by side; they share the context."""
    threads: int | None = None
    """For computing; None leaves the choice to llama.cpp (one per core)."""
    gpu_layers: int | None = None
    """None lets llama.cpp fit them to the free memory."""
    mode: Mode = "chat"
    warmup: bool = True
    """Run once before answering, so that the first request does not wait for the disk."""
    chat_template: str | None = None
    """Instead of the file's own."""

    def line(self, api_key: str) -> bytes:
        """The one line for the child's stdin."""
        return json.dumps({**asdict(self), "api_key": api_key}).encode() + b"\n"


def main() -> NoReturn:
    """Serve one model until stdin closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # From here on fd 1 is stderr: what C code prints must not stand beside the ready line.
    answer = os.dup(1)
    os.dup2(2, 1)
    fields = json.loads(_read_line())
    api_key = str(fields.pop("api_key"))
    options = EngineOptions(**fields)
    _forbid_core_dumps()
    loaded = _end_if_stdin_closes(answer)
    try:
        server = _serve(options, api_key)
    except Exception as error:
        loaded()  # first: the parent closes our stdin when it sees our stdout end
        os.close(answer)
        _fail(error)
    loaded()
    ready = json.dumps({"url": server.listening_address, "pid": os.getpid()}) + "\n"
    os.write(answer, ready.encode())
    os.close(answer)
    _wait_for_end_of_stdin()
    # No clean-up: dropping the server waits for its open streams (measured: past our stop limit),
    # a loaded engine's destructors may fail, and leaving frees everything anyway.
    os._exit(0)


class _Server(Protocol):
    """The part of ``xllamacpp.Server`` that is used; the wheel brings no types."""

    listening_address: str


def _serve(options: EngineOptions, api_key: str) -> _Server:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias} if options.alias else set()
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # the system picks one that is free, and nobody can take it in between
    params.api_keys = [api_key]
    params.offline = True
    params.ui = False
    params.verbosity = 1  # errors; at 0 a failed load gives no reason
    params.n_ctx = options.context_length
    params.n_parallel = options.parallel
    params.kv_unified = options.parallel > 1
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.warmup = options.warmup
    if options.projector:
        params.mmproj.path = options.projector
    if options.threads is not None:
        params.cpuparams.n_threads = options.threads
        params.cpuparams_batch.n_threads = options.threads
    if options.gpu_layers is not None:
        params.n_gpu_layers = options.gpu_layers
    if options.chat_template is not None:
        params.chat_template = options.chat_template
    if options.mode != "chat":
        params.embedding = True
        # An encoder sees its whole input at once: what is longer than a batch is refused.
        params.n_batch = params.n_ubatch = min(options.context_length or 2048, _LARGEST_BATCH)
    if options.mode == "rerank":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    server: _Server = xllamacpp.Server(params)  # holds the GIL until the model is loaded
    return server


def _end_if_stdin_closes(answer: int) -> Callable[[], None]:
    """Guard the load; the returned function ends the guard.

    Loading holds the GIL, for minutes with a large file, so no thread of this process could see
    that the parent is gone. A forked child can: it waits for the end of stdin and kills this one.
    Windows has no fork; there the end is seen when the load is over.
    """
    if sys.platform == "win32":
        return lambda: None
    engine = os.getpid()
    reader, writer = os.pipe()
    guard = os.fork()
    if guard:
        os.close(reader)

        def release() -> None:
            os.close(writer)
            os.waitpid(guard, 0)

        return release
    try:
        os.close(writer)
        os.close(answer)
        while True:
            readable, _, _ = select.select([0, reader], [], [])
            if reader in readable:  # loaded, or dead
                break
            if not os.read(0, 4096):
                if os.getppid() == engine:
                    os.kill(engine, signal.SIGKILL)
                break
    finally:
        os._exit(0)


def _wait_for_end_of_stdin() -> None:
    while True:
        if sys.platform != "win32":  # select() takes only sockets there
            readable, _, _ = select.select([0], [], [], _LOG_LOOK_S)
            if not readable:
                _shorten_log()
                continue
        if not os.read(0, 4096):
            return


def _shorten_log() -> None:
    """Start stderr anew when it is a file that has grown: the engine may run for months."""
    status = os.fstat(2)
    if stat.S_ISREG(status.st_mode) and status.st_size > _LOG_LIMIT_BYTES:
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)


def _forbid_core_dumps() -> None:
    """A failed assertion would otherwise write the whole model to disk once more."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _read_line() -> bytes:
    """The options, byte by byte: buffered reading would swallow the end of stdin."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return bytes(line)


def _fail(error: Exception) -> NoReturn:
    """End with a reason, the ordinary way: llama.cpp logs from a thread that exit() waits for.

    On a busy machine it does not always: the cause stands in a line that was not written yet.
    """
    time.sleep(LOG_S)
    missing = isinstance(error, ImportError)
    reason = f"xllamacpp is not usable here: {error}" if missing else str(error)
    os.write(2, f"{REASON_PREFIX}{reason or type(error).__name__}\n".encode("utf-8", "replace"))
    sys.exit(EXIT_NOT_INSTALLED if missing else EXIT_FAILED)


if __name__ == "__main__":
    main()
