"""Servers and keys that are wrong, on real sockets: the code is exact, and the fix works."""

import socket
import threading
import time

import pytest

from cli.bench import KEY, Apply, Bench, Cases, bench, free_port, require_code_and_fix, typed
from cli.lab_server import Lab

__all__ = ["bench"]  # a fixture

CASES = Cases()


# --- servers -------------------------------------------------------------------------------------


@CASES.add("connection_refused")
def connection_refused(bench: Bench) -> Apply:
    lab = Lab(port=free_port())
    bench.configure(f"http://127.0.0.1:{lab.port}")

    def start(found: dict[str, str]) -> None:
        assert found["fix"].startswith("lab serve")
        bench.labs.append(lab.start())

    return start


@CASES.add("server_hung")
def server_hung(bench: Bench) -> Apply:
    lab = bench.lab(wait=threading.Event())
    bench.configure(lab.url, probeTimeoutS=0.3)

    def restart(found: dict[str, str]) -> None:
        assert found["fix"].startswith("modelbay doctor   # after you have stopped the server")
        lab.stop()
        lab.wait = None
        lab.start()

    return restart


@CASES.add("server_slow")
def server_slow(bench: Bench) -> Apply:
    lab = bench.lab(wait=threading.Event(), wait_s=0.25)
    bench.configure(lab.url, probeTimeoutS=0.2)
    return typed(bench)


@CASES.add("connection_closed")
def connection_closed(bench: Bench) -> Apply:
    listener = socket.create_server(("127.0.0.1", 0))
    bench.listeners.append(listener)

    def slam() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(65536)
            connection.close()

    thread = threading.Thread(target=slam, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    bench.configure(f"http://127.0.0.1:{port}")

    def restart(found: dict[str, str]) -> None:
        assert "log" in found["fix"]
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        bench.lab(port=port)

    return restart


@CASES.add("server_failed")
def server_failed(bench: Bench) -> Apply:
    lab = bench.lab(answer=(500, {}, '{"error": "no memory"}'))
    bench.configure(lab.url)

    def mend(found: dict[str, str]) -> None:
        assert "log" in found["fix"]
        lab.answer = None

    return mend


@CASES.add("server_loading")
def server_loading(bench: Bench) -> Apply:
    lab = bench.lab(answer=(503, {}, '{"error": "loading"}'))
    bench.configure(lab.url)

    def wait(found: dict[str, str]) -> None:
        assert "again" in found["fix"]
        lab.answer = None

    return wait


@CASES.add("server_too_old")
def server_too_old(bench: Bench) -> Apply:
    lab = bench.lab(version="1.4")
    bench.configure(lab.url)

    def upgrade(found: dict[str, str]) -> None:
        assert found["fix"] == "upgrade it to 2.0 or later"
        lab.version = "2.0"

    return upgrade


@CASES.add("server_unhealthy")
def server_unhealthy(bench: Bench) -> Apply:
    lab = bench.lab(healthy=False)
    bench.configure(lab.url)

    def mend(found: dict[str, str]) -> None:
        assert "log" in found["fix"]
        lab.healthy = True

    return mend


@CASES.add("autoload_off")
def autoload_off(bench: Bench) -> Apply:
    bench.configure(bench.lab(autoload=False, models=[{"wire_id": "one", "state": "unloaded"}]).url)
    return typed(bench)


@CASES.add("no_models")
def no_models(bench: Bench) -> Apply:
    """Its folder is empty; another provider has models."""
    lab = bench.lab(models=[])
    bench.installation.configure({"id": "other"}, {"id": "desk", "kind": "lab", "baseUrl": lab.url})

    def fill(found: dict[str, str]) -> None:
        assert found["fix"] == "put a file into its folder"
        lab.models.append({"wire_id": "new"})

    return fill


@CASES.add("model_unusable")
def model_unusable(bench: Bench) -> Apply:
    broken = {"wire_id": "cut", "state": "failed", "problem": "the file is cut short"}
    lab = bench.lab(models=[{"wire_id": "one"}, broken])
    bench.configure(lab.url)

    def remove(found: dict[str, str]) -> None:
        assert found["fix"] == "modelbay show desk/cut"
        lab.models.remove(broken)

    return remove


@CASES.add("server_slow", "in a variable")
def slow_in_a_variable(bench: Bench) -> Apply:
    """Twice 0.8 s is more than the usual 1.5 s."""
    lab = bench.lab(wait=threading.Event(), wait_s=0.8)
    bench.installation.configure()
    bench.installation.setenv("LLM_DESK", f"lab://127.0.0.1:{lab.port}")
    return typed(bench)


@CASES.add("clock_wrong")
def clock_wrong(bench: Bench) -> Apply:
    lab = bench.lab(now=time.time() - 7200)
    bench.configure(lab.url)

    def set_clock(found: dict[str, str]) -> None:
        assert found["fix"].startswith("timedatectl set-ntp true")
        lab.now = None

    return set_clock


# --- keys ----------------------------------------------------------------------------------------


@CASES.add("key_missing")
def key_missing(bench: Bench) -> Apply:
    bench.configure(bench.lab(key=KEY).url)

    def store(found: dict[str, str]) -> None:
        assert found["fix"] == "modelbay keys set desk"
        bench.type("modelbay keys set desk --file", f"{KEY}\n")

    return store


@CASES.add("key_missing", "its variable is not set")
def variable_missing(bench: Bench) -> Apply:
    bench.configure(bench.lab(key=KEY).url, apiKeyEnv="DESK_KEY")
    return lambda found: bench.type(found["fix"].replace("=KEY", f"={KEY}"))


@CASES.add("key_refused")
def key_refused(bench: Bench) -> Apply:
    bench.configure(bench.lab(key=KEY).url, apiKeyEnv="DESK_KEY")
    bench.installation.setenv("DESK_KEY", "sk-another-one-987654")
    return lambda found: bench.type(found["fix"].replace("=KEY", f"={KEY}"))


@CASES.add("key_for_other_host")
def key_for_other_host(bench: Bench) -> Apply:
    bench.configure("https://api.lab.invalid")
    bench.type("modelbay keys set desk --file", f"{KEY}\n")
    bench.configure(bench.lab(key=KEY).url)
    return lambda found: bench.type(
        found["fix"].replace("keys set desk", "keys set desk --file"), f"{KEY}\n"
    )


@CASES.add("key_unsendable")
def key_unsendable(bench: Bench) -> Apply:
    bench.configure(bench.lab(key=KEY).url, apiKeyEnv="DESK_KEY")
    bench.installation.setenv("DESK_KEY", "sk-with-a-line\nend")
    return lambda found: bench.type(found["fix"].replace("=KEY", f"={KEY}"))


@CASES.add("keys_exposed")
def keys_exposed(bench: Bench) -> Apply:
    bench.configure(bench.lab(key=KEY).url, apiKeyEnv="DESK_KEY")
    bench.type("modelbay keys set desk --file", f"{KEY}\n")
    (bench.installation.home / "data" / "keys.json").chmod(0o644)
    return typed(bench)


@CASES.add("keys_damaged")
def keys_damaged(bench: Bench) -> Apply:
    bench.configure(bench.lab().url)
    path = bench.installation.home / "data" / "keys.json"
    path.parent.mkdir()
    path.write_text('{"keys": [')
    path.chmod(0o600)
    return typed(bench)


@pytest.mark.parametrize("name", CASES)
def test_a_misconfiguration_gets_its_code_and_its_fix_works(bench: Bench, name: str) -> None:
    require_code_and_fix(bench, CASES, name)
