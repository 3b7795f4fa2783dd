"""Mirrors modelbay_cli/commands/fake.py: a pretended server, as a program of its own."""

import signal
import subprocess

import httpx2 as httpx

from cli.conftest import Installation


def test_without_a_kind_it_lists_what_can_be_pretended(installation: Installation) -> None:
    assert "llamacpp" in installation.run("fake").stdout.decode().splitlines()


def test_an_unknown_kind_names_the_known_ones(installation: Installation) -> None:
    done = installation.run("fake", "nothing")

    assert done.returncode == 2
    assert b"known: " in done.stderr


def test_it_serves_on_loopback_until_it_is_interrupted(installation: Installation) -> None:
    process = installation.process(
        "fake", "llamacpp", "--port", "0", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        listed = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()

    assert url.startswith("http://127.0.0.1:")
    assert [model["id"] for model in listed] == ["gemma-3-4b-it", "nomic-embed-text", "qwen3-8b"]
    assert process.returncode == 130
