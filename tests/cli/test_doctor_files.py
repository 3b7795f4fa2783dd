"""Files, plugins and folders that are wrong: the code is exact, and the fix works."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from cli.bench import (
    KEY,
    SOURCE,
    Apply,
    Bench,
    Cases,
    bench,
    require_code_and_fix,
    typed,
)
from cli.conftest import install
from modelbay_cli.installing import wishes
from modelbay_cli.installing.requirement import Requirement

__all__ = ["bench"]  # a fixture

CASES = Cases()


# --- the file ------------------------------------------------------------------------------------


@CASES.add("file_malformed")
def file_malformed(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    good = bench.installation.file.read_text()
    bench.installation.file.write_text(good.replace("]", ",]"))
    return lambda found: edited(bench, found, lambda text: text.replace(",]", "]"))


def edited(bench: Bench, found: dict[str, str], change: Callable[[str], str]) -> None:
    assert found["fix"].startswith("modelbay config ")
    bench.edit(change)


@CASES.add("duplicate_key")
def duplicate_key(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    good = bench.installation.file.read_text()
    bench.installation.file.write_text('{"providers": [], ' + good[1:])
    return lambda found: edited(bench, found, lambda text: "{" + text[18:])


@CASES.add("unknown_key")
def unknown_key(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    document = json.loads(bench.installation.file.read_text())
    bench.installation.file.write_text(json.dumps({**document, "theme": "dark"}))
    return typed(bench)


@CASES.add("unknown_key", "of a provider")
def unknown_provider_key(bench: Bench) -> Apply:
    bench.configure(bench.lab().url, probe_timeout_s=3)
    return typed(bench)


@CASES.add("unknown_key", "of its plugin")
def unknown_option(bench: Bench) -> Apply:
    bench.configure(bench.lab().url, colour="red")
    return typed(bench)


@CASES.add("wrong_value")
def wrong_value(bench: Bench) -> Apply:
    bench.configure(bench.lab().url, probeTimeoutS="fast")
    return typed(bench)


@CASES.add("missing_key")
def missing_key(bench: Bench) -> Apply:
    bench.installation.file.write_text(
        json.dumps({"providers": [{"id": "desk", "baseUrl": bench.lab().url}]})
    )
    return lambda found: edited(
        bench, found, lambda text: text.replace('"desk",', '"desk", "kind": "lab",')
    )


@CASES.add("duplicate_id")
def duplicate_id(bench: Bench) -> Apply:
    desk = {"id": "desk", "kind": "lab", "baseUrl": bench.lab().url}
    bench.installation.configure(desk, {**desk, "baseUrl": bench.lab().url})
    return lambda found: edited(
        bench, found, lambda text: text.replace('"id": "desk"', '"id": "tower"', 1)
    )


@CASES.add("dsn_malformed")
def dsn_malformed(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.installation.file.write_text(
        json.dumps({"providers": [f"lab://127.0.0.1:{lab.port}?id=desk"]})
    )
    return lambda found: edited(bench, found, lambda text: text.replace("?id=", "#"))


@CASES.add("default_provider_unknown")
def default_provider_unknown(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.installation.configure(
        {"id": "desk", "kind": "lab", "baseUrl": lab.url}, defaultProvider="desc"
    )
    return typed(bench)


@CASES.add("default_model_unknown")
def default_model_unknown(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.installation.configure(
        {"id": "desk", "kind": "lab", "baseUrl": lab.url}, defaultModel="desk/ones"
    )
    return typed(bench)


@CASES.add("default_model_unknown", "of the variable")
def variable_model_unknown(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    bench.installation.setenv("DEFAULT_MODEL", "desk/zzz")
    return typed(bench)


@CASES.add("file_exposed")
def file_exposed(bench: Bench) -> Apply:
    bench.configure(bench.lab(key=KEY).url, apiKey=KEY)
    bench.installation.file.chmod(0o644)
    return typed(bench)


@CASES.add("file_unreadable")
def file_unreadable(bench: Bench) -> Apply:
    """A folder where the file should be: what root may not read either."""
    bench.installation.file.unlink()
    bench.installation.file.mkdir()
    bench.installation.propose("up", "environment")
    return typed(bench)


@CASES.add("wrapper_missing")
def wrapper_missing(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.installation.configure(
        {"id": "desk", "kind": "lab", "baseUrl": lab.url}, wrappers=["trace"]
    )
    return typed(bench)


# --- plugins -------------------------------------------------------------------------------------


def uninstalled(bench: Bench, dist: str) -> Apply:
    """`plugin uninstall`, as far as it concerns a folder on the path."""

    def remove(found: dict[str, str]) -> None:
        assert f"modelbay plugin uninstall {dist}" in found["fix"]
        for path in bench.installation.packages.glob(f"{dist.replace('-', '_')}*"):
            subprocess.run(["rm", "-r", str(path)], check=True)

    return remove


@CASES.add("plugin_broken")
def plugin_broken(bench: Bench) -> Apply:
    return broken(bench, "raise RuntimeError")


@CASES.add("plugin_dependency_missing")
def plugin_dependency_missing(bench: Bench) -> Apply:
    return broken(bench, "import nothing_of_that_name")


@CASES.add("plugin_incompatible")
def plugin_incompatible(bench: Bench) -> Apply:
    apply = broken(bench, "raise AssertionError('imported')")
    metadata = bench.installation.packages / "modelbay_bad-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: modelbay-core>=99\n")
    return apply


@CASES.add("plugin_contract")
def plugin_contract(bench: Bench) -> Apply:
    sound, at = SOURCE.read_text(), "    provider.options(Options)\n"
    assert at in sound
    return broken(bench, sound.replace(at, "    raise RuntimeError\n"))


@CASES.add("plugin_prints")
def plugin_prints(bench: Bench) -> Apply:
    apply = broken(bench, SOURCE.read_text() + "\nprint('hello')\n")

    def upgraded(found: dict[str, str]) -> None:
        assert found["fix"].startswith("modelbay plugin upgrade modelbay-bad ")
        apply({**found, "fix": "modelbay plugin uninstall modelbay-bad"})

    return upgraded


@CASES.add("plugin_thread")
def plugin_thread(bench: Bench) -> Apply:
    thread = "import threading\nthreading.Thread(target=threading.main_thread().join).start()\n"
    apply = broken(bench, f"{SOURCE.read_text()}\n{thread}")

    def upgraded(found: dict[str, str]) -> None:
        assert found["fix"].startswith("modelbay plugin upgrade modelbay-bad ")
        apply({**found, "fix": "modelbay plugin uninstall modelbay-bad"})

    return upgraded


@CASES.add("plugin_missing")
def plugin_missing(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    path = bench.installation.home / "data" / "plugins.json"
    wishes.add(path, [Requirement("modelbay-gone", "modelbay-gone")])

    def sync(found: dict[str, str]) -> None:
        assert found["fix"] == "modelbay plugin sync"
        install(bench.installation.packages, "modelbay-gone", "")

    return sync


def broken(bench: Bench, source: str) -> Apply:
    sys.modules.pop("modelbay_bad", None)  # each test's is another module of that name
    bench.configure(bench.lab().url)
    install(bench.installation.packages, "modelbay-bad", "[modelbay]\nbad = modelbay_bad\n", source)
    return uninstalled(bench, "modelbay-bad")


@CASES.add("plugin_mismatch")
def plugin_mismatch(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    source = "from modelbay.hookspecs import hookimpl\n@hookimpl\ndef stream_chat(nobody): ...\n"
    install(bench.installation.packages, "modelbay-old", "[modelbay]\nold = modelbay_old\n", source)
    return uninstalled(bench, "modelbay-old")


@CASES.add("kind_duplicate")
def kind_duplicate(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    install(
        bench.installation.packages, "modelbay-twin", "[modelbay]\nlab = modelbay_twin\n", "x = 1"
    )
    return uninstalled(bench, "modelbay-twin")


@CASES.add("kind_not_installed")
def kind_not_installed(bench: Bench) -> Apply:
    lab = bench.lab(product="novel")
    bench.installation.configure(
        {"id": "other"}, {"id": "desk", "kind": "novel", "baseUrl": lab.url}
    )

    def pip_install(found: dict[str, str]) -> None:
        assert found["fix"] == "modelbay plugin list"
        entry_points = "[modelbay]\nnovel = modelbay_novel\n"
        packages = bench.installation.packages
        install(packages, "modelbay-novel", entry_points, SOURCE.read_text())

    return pip_install


@CASES.add("kind_disabled")
def kind_disabled(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.installation.configure({"id": "other"}, {"id": "desk", "kind": "lab", "baseUrl": lab.url})
    disabled = bench.installation.env["MODELBAY_DISABLE"]
    bench.installation.setenv("MODELBAY_DISABLE", f"{disabled},lab")
    return typed(bench)


@CASES.add("package_damaged")
def package_damaged(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    info = bench.installation.packages / "aaa-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(b"\xff\xfe[")
    return typed(bench)


@CASES.add("command_broken")
def command_broken(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    entry_points = "[modelbay.commands]\nboom = modelbay_boom:command\n"
    install(bench.installation.packages, "modelbay-boom", entry_points, "raise OSError('no')")
    return uninstalled(bench, "modelbay-boom")


# --- this machine --------------------------------------------------------------------------------


@CASES.add("folder_is_a_file")
def folder_is_a_file(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    (bench.installation.home / "data").write_text("mine")
    return typed(bench)


def folder_unwritable(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    folder = bench.installation.home / "data"
    folder.mkdir()
    folder.chmod(0o500)
    return typed(bench)


if os.geteuid() != 0:  # root may write everywhere; test_doctor_parts.py tells what it would see
    CASES.add("folder_unwritable")(folder_unwritable)


@CASES.add("cache_damaged")
def cache_damaged(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    path = bench.installation.home / "cache" / "models" / "desk.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"key": "x", "mod')
    return typed(bench)


@CASES.add("clock_went_back")
def clock_went_back(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    path = bench.installation.home / "cache" / "models" / "desk.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"key": "x", "read_at": time.time() + 86_400}))
    return typed(bench)


@CASES.add("measurements_damaged")
def measurements_damaged(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    path = bench.installation.home / "data" / "measured" / "0123.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0\0\0\0")
    return typed(bench)


@CASES.add("state_damaged")
def state_damaged(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    path = bench.installation.home / "data" / "state.db"
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE one (two TEXT)")
    connection.executemany("INSERT INTO one VALUES (?)", [("x" * 500,)] * 50)
    connection.commit()
    connection.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    return typed(bench)


@pytest.mark.parametrize("name", CASES)
def test_a_misconfiguration_gets_its_code_and_its_fix_works(bench: Bench, name: str) -> None:
    require_code_and_fix(bench, CASES, name)
