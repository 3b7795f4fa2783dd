"""Which folders programs keep model files in. Reads nothing but LM Studio's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from modelbay_embedded.small_files import json_object, small_text

Store = Literal["modelbay", "llama-cache", "huggingface", "lm-studio", "ollama"]


def all_places(env: Mapping[str, str], home: Path, platform: str) -> Iterator[tuple[Store, Path]]:
    """Every folder or file to search, in order of precedence; some may be named twice.

    Args:
        env: The environment.
        home: The user's home folder, for ``~`` and the defaults.
        platform: As in ``sys.platform``.
    """
    for entry in _variable(env, "MODELBAY_MODELS").split(os.pathsep):
        if entry.strip():
            yield "modelbay", _expanded(entry.strip(), home)
    for path in _llama_caches(env, home, platform):
        yield "llama-cache", path
    yield "huggingface", _hub_cache(env, home)
    for path in _lm_studio_folders(home):
        yield "lm-studio", path
    for path in _ollama_folders(env, home):
        yield "ollama", path


def _llama_caches(env: Mapping[str, str], home: Path, platform: str) -> Iterator[Path]:
    """llama.cpp's own download folders.

    Current versions use the hub's layout in ``LLAMA_CACHE`` and no longer look at the old default
    folder, where older ones left files named ``owner_repo_file.gguf``; people still have those, so
    both are searched, in both layouts.

    Source: llama.cpp common/common.cpp, ``fs_get_cache_directory``; observed for the new layout.
    """
    if value := _variable(env, "LLAMA_CACHE"):
        yield _expanded(value, home)
    if platform == "darwin":
        yield home / "Library" / "Caches" / "llama.cpp"
    elif platform == "win32":
        if value := _variable(env, "LOCALAPPDATA"):
            yield Path(value) / "llama.cpp"
    else:
        value = _variable(env, "XDG_CACHE_HOME")
        yield (_expanded(value, home) if value else home / ".cache") / "llama.cpp"


def _hub_cache(env: Mapping[str, str], home: Path) -> Path:
    """The Hugging Face hub's cache: the first of these that is set.

    Source: huggingface_hub, "Environment variables"; llama-server follows the same order.
    """
    for name, *below in (
        ("HF_HUB_CACHE",),
        ("HUGGINGFACE_HUB_CACHE",),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface", "hub"),
    ):
        if value := _variable(env, name):
            return _expanded(value, home).joinpath(*below)
    return home / ".cache" / "huggingface" / "hub"


def _lm_studio_folders(home: Path) -> Iterator[Path]:
    """LM Studio's folders: the one its settings name, the present default, the old default.

    Not documented by LM Studio: that ``~/.lmstudio-home-pointer`` names its home folder, and
    ``downloadsFolder`` in that folder's ``settings.json`` the models', is what its users report.
    Where that is wrong, the defaults remain.
    """
    pointer = small_text(home / ".lmstudio-home-pointer")
    homes = [Path(pointer.strip().splitlines()[0])] if pointer and pointer.strip() else []
    homes += [home / ".lmstudio", home / ".cache" / "lm-studio"]
    for lm_home in homes:
        settings = json_object(small_text(lm_home / "settings.json"))
        chosen = settings.get("downloadsFolder")
        if isinstance(chosen, str) and chosen and "\0" not in chosen:
            yield _expanded(chosen, home)
        yield lm_home / "models"


def _ollama_folders(env: Mapping[str, str], home: Path) -> Iterator[Path]:
    """``OLLAMA_MODELS`` or the user's folder, then those of the installed service on Linux.

    Source: ollama docs/faq.md, "Where are models stored?". The service's home differs between the
    install script (``/usr/share/ollama``) and distributions' packages (``/var/lib/ollama``, with
    and without ``.ollama``); the latter are what their users report, not documented by Ollama.
    """
    if value := _variable(env, "OLLAMA_MODELS"):
        yield _expanded(value, home)
    else:
        yield home / ".ollama" / "models"
    if os.name == "posix":
        yield Path("/usr/share/ollama/.ollama/models")
        yield Path("/var/lib/ollama/.ollama/models")
        yield Path("/var/lib/ollama/models")


def _variable(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()


def _expanded(value: str, home: Path) -> Path:
    if value == "~" or value.startswith(("~/", "~\\")):
        return home / value[2:]
    return Path(value)
