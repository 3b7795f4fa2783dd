"""Mirrors modelbay_embedded/stores.py, with places.py and filenames.py: what lies where."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelbay_embedded import stores
from modelbay_embedded.filenames import projector_for, shards, stem, tagged
from modelbay_embedded.places import all_places
from modelbay_embedded.stores import FoundModel, Place, Search, find_models


def touch(path: Path, data: bytes | None = None) -> Path:
    """A file whose content is its own path, so that no two are the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode() if data is None else data)
    return path


def search(home: Path, env: Mapping[str, str] | None = None) -> Search:
    """What lies below ``home``; this computer's own Ollama service is left out."""
    found = find_models(env or {}, home, platform="linux")
    return Search(
        tuple(model for model in found.models if model.place.is_relative_to(home)),
        tuple(place for place in found.places if place.path.is_relative_to(home)),
    )


def names(found: Search) -> list[str]:
    return [model.name for model in found.models]


def place(found: Search, path: Path) -> Place:
    return next(place for place in found.places if place.path == path)


def ollama_manifest(root: Path, where: str, *layers: tuple[str, str]) -> Path:
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": "sha256:" + "c" * 64},
        "layers": [
            {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}"}
            for kind, digest in layers
        ],
    }
    return touch(root / "manifests" / where, json.dumps(manifest).encode())


# --- where ---------------------------------------------------------------------------------------


def test_nothing_anywhere_is_no_error(tmp_path: Path) -> None:
    found = search(tmp_path)

    assert found.models == ()
    assert {place.state for place in found.places} == {"missing"}
    assert [place.path.relative_to(tmp_path).as_posix() for place in found.places] == [
        ".cache/llama.cpp",
        ".cache/huggingface/hub",
        ".lmstudio/models",
        ".cache/lm-studio/models",
        ".ollama/models",
    ]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "/home/u/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x", "HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/g"}, "/g"),
        ({"HUGGINGFACE_HUB_CACHE": "/g", "HF_HUB_CACHE": "~/mine"}, "/home/u/mine"),
        ({"HF_HUB_CACHE": ""}, "/home/u/.cache/huggingface/hub"),
    ],
)
def test_the_hub_cache_is_where_the_first_variable_says(env: dict[str, str], expected: str) -> None:
    places = dict(all_places(env, Path("/home/u"), "linux"))

    assert places["huggingface"] == Path(expected)


@pytest.mark.parametrize(
    ("platform", "env", "expected"),
    [
        ("linux", {}, "/home/u/.cache/llama.cpp"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/llama.cpp"),
        ("darwin", {}, "/home/u/Library/Caches/llama.cpp"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/llama.cpp"),
    ],
)
def test_the_old_llama_cache_differs_by_platform(
    platform: str, env: dict[str, str], expected: str
) -> None:
    assert ("llama-cache", Path(expected)) in list(all_places(env, Path("/home/u"), platform))


def test_ollama_models_replaces_the_users_folder(tmp_path: Path) -> None:
    places = [path for store, path in all_places({"OLLAMA_MODELS": "/o"}, tmp_path, "linux")]

    assert Path("/o") in places
    assert tmp_path / ".ollama/models" not in places


def test_lm_studios_pointer_and_settings_are_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    touch(tmp_path / ".lmstudio-home-pointer", f"{elsewhere}\n".encode())
    settings = {"downloadsFolder": str(tmp_path / "big disk")}
    touch(elsewhere / "settings.json", json.dumps(settings).encode())
    touch(tmp_path / "big disk/pub/repo-GGUF/tiny-Q8_0.gguf")

    assert names(search(tmp_path)) == ["pub/repo-GGUF:Q8_0"]


@pytest.mark.parametrize("text", [b"", b"\n", b"\0", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_damaged_settings_do_no_harm(tmp_path: Path, text: bytes) -> None:
    touch(tmp_path / ".lmstudio-home-pointer", text)
    touch(tmp_path / ".lmstudio/settings.json", text)
    touch(tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/a/latest", text)
    touch(tmp_path / ".cache/huggingface/hub/models--o--r/refs/main", text)

    assert names(search(tmp_path)) == []


# --- MODELBAY_MODELS -----------------------------------------------------------------------------


def test_folders_and_files_of_the_variable_are_searched(tmp_path: Path) -> None:
    a = touch(tmp_path / "models/a-Q4_K_M.gguf")
    b = touch(tmp_path / "models/deeper/b.GGUF")
    single = touch(tmp_path / "single-file.bin")
    touch(tmp_path / "models/readme.txt")
    touch(tmp_path / "models/half.gguf.part")
    touch(tmp_path / "models/._a-Q4_K_M.gguf")
    gone = tmp_path / "gone"
    env = {"MODELBAY_MODELS": os.pathsep.join([str(tmp_path / "models"), str(single), str(gone)])}

    found = search(tmp_path, env)

    root = tmp_path / "models"
    assert found.models == (
        FoundModel("a-Q4_K_M", a, "modelbay", root, a.stat().st_size),
        FoundModel("b", b, "modelbay", root, b.stat().st_size),
        FoundModel("single-file.bin", single, "modelbay", single, single.stat().st_size),
    )
    assert place(found, root) == Place("modelbay", root, "searched", 2)
    assert place(found, single) == Place("modelbay", single, "searched", 1)
    assert place(found, gone) == Place("modelbay", gone, "missing")


def test_companions_are_no_models(tmp_path: Path) -> None:
    for name in ("mmproj-a", "a-mmproj-f16", "mtp-a", "eagle3-a", "dflash-a", "dspark-a", "a"):
        touch(tmp_path / f"m/{name}.gguf")

    assert names(search(tmp_path, {"MODELBAY_MODELS": str(tmp_path / "m")})) == ["a"]


def test_of_shards_only_the_first_is_listed_with_all_of_them(tmp_path: Path) -> None:
    root = tmp_path / "m"
    files = tuple(touch(root / f"big-Q4_0-0000{n}-of-00003.gguf") for n in (1, 2, 3))
    size = sum(file.stat().st_size for file in files)

    found = search(tmp_path, {"MODELBAY_MODELS": str(root)})
    by_file = search(tmp_path, {"MODELBAY_MODELS": str(files[0])})

    assert found.models == (FoundModel("big-Q4_0", files[0], "modelbay", root, size, files),)
    assert by_file.models == (FoundModel("big-Q4_0", files[0], "modelbay", files[0], size, files),)


def test_a_model_with_a_shard_missing_is_a_problem_not_a_model(tmp_path: Path) -> None:
    root = tmp_path / "m"
    first = touch(root / "big-00001-of-00003.gguf")

    found = search(tmp_path, {"MODELBAY_MODELS": str(root)})

    assert found.models == ()
    assert place(found, root).problems == (f"{first}: 2 of 3 files are missing",)


def test_equal_names_are_told_apart_the_same_way_each_time(tmp_path: Path) -> None:
    for folder in ("m/x", "m/y", "n/x"):
        touch(tmp_path / folder / "same.gguf")
    env = {"MODELBAY_MODELS": os.pathsep.join([str(tmp_path / "m"), str(tmp_path / "n")])}

    assert names(search(tmp_path, env)) == ["same", "y/same", "x/same"]
    assert search(tmp_path, env) == search(tmp_path, env)


def test_the_search_is_bounded_in_depth_and_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "m"
    touch(root / "1/2/3/4/in.gguf")
    touch(root / "1/2/3/4/5/out.gguf")
    env = {"MODELBAY_MODELS": str(root)}
    assert names(search(tmp_path, env)) == ["in"]

    monkeypatch.setattr(stores, "MAX_ENTRIES", 3)
    found = search(tmp_path, env)
    assert (names(found), place(found, root).state) == ([], "cut short")


def test_loops_of_links_and_links_to_nothing_are_harmless(tmp_path: Path) -> None:
    root = tmp_path / "m"
    touch(root / "a.gguf")
    (root / "loop").symlink_to(root)
    (root / "self.gguf").symlink_to(root / "self.gguf")
    (root / "gone.gguf").symlink_to(root / "nowhere")

    found = search(tmp_path, {"MODELBAY_MODELS": str(root)})

    assert [(model.name, model.aliases) for model in found.models] == [("a", ())]


def test_a_folder_that_may_not_be_read_is_a_row_for_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "m"
    root.mkdir()
    scan = os.scandir

    def refuse(path: str | Path) -> os._ScandirIterator[str]:  # the tests may run as root
        if Path(path) == root:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = search(tmp_path, {"MODELBAY_MODELS": str(root)})

    assert place(found, root) == Place(
        "modelbay", root, "unreadable", 0, (f"{root}: Permission denied",)
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file names that are not text")
def test_a_name_that_is_no_text_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    try:
        (root / os.fsdecode(b"bad\xff.gguf")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only text")

    found = search(tmp_path, {"MODELBAY_MODELS": str(root)})

    assert found.models == ()
    assert len(place(found, root).problems) == 1


# --- the hub's cache -----------------------------------------------------------------------------


def test_the_hub_cache_names_owner_repository_and_tag(tmp_path: Path) -> None:
    hub = tmp_path / ".cache/huggingface/hub"
    repo = hub / "models--acme--tiny-GGUF"
    touch(repo / "refs/main", b"new")
    blob = touch(repo / "blobs/123")
    for commit in ("old", "new"):
        (repo / f"snapshots/{commit}").mkdir(parents=True)
        (repo / f"snapshots/{commit}/tiny-Q8_0.gguf").symlink_to(blob)
    touch(repo / "snapshots/old/tiny.q4_k_m.gguf")
    touch(repo / "snapshots/new/plain.gguf")
    touch(repo / "snapshots/new/UD/tiny-UD-Q4_K_XL.gguf")
    touch(repo / "snapshots/new/mmproj-F16.gguf")
    touch(hub / "datasets--acme--x/snapshots/c/no.gguf")
    touch(hub / "models--noowner/snapshots/c/no.gguf")

    found = search(tmp_path)

    assert [(m.name, m.path.relative_to(repo).as_posix()) for m in found.models] == [
        ("acme/tiny-GGUF:plain", "snapshots/new/plain.gguf"),
        ("acme/tiny-GGUF:Q8_0", "snapshots/new/tiny-Q8_0.gguf"),
        ("acme/tiny-GGUF:Q4_K_XL", "snapshots/new/UD/tiny-UD-Q4_K_XL.gguf"),
        ("acme/tiny-GGUF:Q4_K_M", "snapshots/old/tiny.q4_k_m.gguf"),
    ]


def test_llama_cache_is_searched_in_both_layouts(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    touch(cache / "models--o--r/snapshots/c/m-F16.gguf")
    touch(cache / "o_r_flat-Q4_0.gguf")

    assert names(search(tmp_path, {"LLAMA_CACHE": str(cache)})) == ["o/r:F16", "o_r_flat-Q4_0"]


def test_equal_tags_of_one_repository_get_the_files_name(tmp_path: Path) -> None:
    snapshot = tmp_path / ".cache/huggingface/hub/models--o--r/snapshots/c"
    touch(snapshot / "m-Q4_K_M.gguf")
    touch(snapshot / "n-Q4_K_M.gguf")

    assert names(search(tmp_path)) == ["o/r:Q4_K_M", "o/r:n-Q4_K_M"]


def test_a_projector_at_the_repositorys_root_serves_its_folders(tmp_path: Path) -> None:
    snapshot = tmp_path / ".cache/huggingface/hub/models--o--r/snapshots/c"
    touch(snapshot / "BF16/m-BF16.gguf")
    touch(snapshot / "Q4_K_M/m-Q4_K_M.gguf")
    projector = touch(snapshot / "mmproj-F16.gguf")

    assert [model.projector for model in search(tmp_path).models] == [projector, projector]


# --- LM Studio -----------------------------------------------------------------------------------


def test_lm_studios_models_are_named_like_the_hubs(tmp_path: Path) -> None:
    root = tmp_path / ".lmstudio/models"
    touch(root / "pub/tiny-GGUF/tiny-Q4_K_M.gguf")
    touch(root / "pub/tiny-GGUF/tiny-Q8_0.gguf")
    touch(tmp_path / ".cache/lm-studio/models/old/repo/file.gguf")

    assert names(search(tmp_path)) == [
        "pub/tiny-GGUF:Q4_K_M",
        "pub/tiny-GGUF:Q8_0",
        "old/repo:file",
    ]


def test_a_file_in_two_stores_is_one_model(tmp_path: Path) -> None:
    file = touch(tmp_path / "m/tiny-Q8_0.gguf")
    twin = tmp_path / ".lmstudio/models/pub/repo/tiny-Q8_0.gguf"
    twin.parent.mkdir(parents=True)
    twin.symlink_to(file)

    found = search(tmp_path, {"MODELBAY_MODELS": str(tmp_path / "m")})

    assert [(m.name, m.store, m.aliases) for m in found.models] == [
        ("tiny-Q8_0", "modelbay", ("pub/repo:Q8_0",))
    ]


# --- Ollama --------------------------------------------------------------------------------------


def test_ollamas_manifests_lead_to_blobs_by_their_real_names(tmp_path: Path) -> None:
    root = tmp_path / ".ollama/models"
    weights = [touch(root / f"blobs/sha256-{c * 64}") for c in "123"]
    projector = touch(root / f"blobs/sha256-{'a' * 64}")
    registry = "registry.ollama.ai"
    ollama_manifest(root, f"{registry}/library/llama3.1/8b", ("model", "1" * 64))
    ollama_manifest(
        root, f"{registry}/sam/vision/latest", ("model", "2" * 64), ("projector", "a" * 64)
    )
    ollama_manifest(root, "hf.co/acme/tiny-GGUF/Q8_0", ("template", "9" * 64), ("model", "3" * 64))

    found = search(tmp_path)

    sizes = [path.stat().st_size for path in weights]
    assert found.models == (
        FoundModel("hf.co/acme/tiny-GGUF:Q8_0", weights[2], "ollama", root, sizes[2]),
        FoundModel("llama3.1:8b", weights[0], "ollama", root, sizes[0]),
        FoundModel("sam/vision:latest", weights[1], "ollama", root, sizes[1], (), projector),
    )


def test_two_tags_of_one_file_are_one_model_with_an_alias(tmp_path: Path) -> None:
    root = tmp_path / ".ollama/models"
    touch(root / f"blobs/sha256-{'1' * 64}")
    for tag in ("8b", "latest"):
        ollama_manifest(root, f"registry.ollama.ai/library/llama3.1/{tag}", ("model", "1" * 64))

    assert [(m.name, m.aliases) for m in search(tmp_path).models] == [
        ("llama3.1:8b", ("llama3.1:latest",))
    ]


def test_what_ollama_has_no_file_for_is_a_problem(tmp_path: Path) -> None:
    root = tmp_path / ".ollama/models"
    library = "registry.ollama.ai/library"
    touch(root / f"blobs/sha256-{'1' * 64}")
    ollama_manifest(root, f"{library}/cloud/latest")
    ollama_manifest(root, f"{library}/half/latest", ("model", "2" * 64))
    ollama_manifest(root, f"{library}/lora/latest", ("model", "1" * 64), ("adapter", "3" * 64))
    ollama_manifest(root, f"{library}/evil/latest", ("model", "../../../etc/passwd"))

    found = search(tmp_path)

    assert found.models == ()
    assert place(found, root).problems == (
        "cloud:latest: no GGUF file in the store",
        "evil:latest: no GGUF file in the store",
        "half:latest: no GGUF file in the store",
        "lora:latest: has an adapter, which is not supported here",
    )


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tiny-Q8_0.gguf", "o/r:Q8_0"),
        ("tiny.q4_k_m.gguf", "o/r:Q4_K_M"),
        ("big-IQ4_XS-00001-of-00002.gguf", "o/r:IQ4_XS"),
        ("tiny.gguf", "o/r:tiny"),
        ("tiny-é.gguf", "o/r:tiny-é"),
    ],
)
def test_the_tag_is_the_last_part_in_capitals(file: str, name: str) -> None:
    assert tagged("o/r", Path(file)) == name


def test_a_shards_number_is_no_part_of_the_name() -> None:
    first = Path("d/big-00001-of-00002.gguf")

    assert stem(first) == "big"
    assert shards(first) == (first, Path("d/big-00002-of-00002.gguf"))
    assert shards(Path("d/big-00002-of-00002.gguf")) is None
    assert shards(Path("d/big.gguf")) == ()


@pytest.mark.parametrize(
    ("model", "files", "projector"),
    [
        ("a-Q4_K_M", ["mmproj-F16"], "mmproj-F16"),
        ("a-Q4_K_M", ["a-Q8_0", "mmproj-model-f16"], "mmproj-model-f16"),
        ("a-Q4_K_M", ["b-Q4_K_M", "mmproj-F16"], None),
        (
            "gemma-3-4b-it-Q4_0",
            ["qwen-Q4_0", "mmproj-gemma-3-4b-it-f16"],
            "mmproj-gemma-3-4b-it-f16",
        ),
        ("qwen-Q4_0", ["gemma-3-4b-it-Q4_0", "mmproj-gemma-3-4b-it-f16"], None),
        ("a", ["a-mmproj-bf16", "a-mmproj-f16", "a-mmproj-f32"], "a-mmproj-f16"),
        ("a-b", ["mmproj-a", "mmproj-a-b"], "mmproj-a-b"),
        ("a", ["mtp-a"], None),
    ],
)
def test_a_projector_goes_with_the_model_it_names_or_the_only_one(
    model: str, files: list[str], projector: str | None
) -> None:
    group = [Path(f"{name}.gguf") for name in (model, *files)]

    found = projector_for(group[0], group)

    assert found == (Path(f"{projector}.gguf") if projector else None)
