"""Mirrors diagnosis/bundle.py and diagnosis/redaction.py: what is sent on holds no secret."""

import json
import stat
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cli.conftest import Installation, Invoke, install
from cli.lab_server import Lab
from modelbay_cli.diagnosis.redaction import Redaction

SOURCE = Path(__file__).with_name("fake_lab.py")

# Where each secret is planted; every one of them is another text.
PLACES = (
    "apiKey in the file",
    "apiKey of a provider that is switched off",
    "apiKeyEnv's variable",
    "token of a DSN in the file",
    "token of a DSN as baseUrl",
    "token of a DSN with odd characters",
    "token of a DSN in a variable",
    "user of an address",
    "password of an address",
    "query of an address",
    "a header",
    "the Authorization header",
    "a plugin's own key",
    "a plugin's own token in an object",
    "a plugin's own password in a list",
    "password of a plugin's own address",
    "a stored key",
    "a stored key of a variable",
    "password of a proxy",
    "a variable that looks like a key",
    "a variable of another program",
    "a model's details",
    "a server's error that repeats the key",
    "a server's product name",
    "what a kept list remembers",
    "auth of a plugin's own object",
    "a plugin's own object under a telling name",
    "a label that is a DSN",
    "a DSN in a header",
    "a DSN under an unknown key",
    "the name of an unknown key",
    "the id of a model that is a DSN",
)
# Where each is planted in a file in which nothing is right.
WRONG_PLACES = (
    "password of an address of a foreign scheme",
    "token of an address of a foreign scheme",
    "token with a slash that is not encoded",
    "password of a DSN",
    "query of a DSN",
    "a kind that is a DSN",
    "a label of a provider that is wrong",
    "an id that is a DSN",
    "a header that is no text",
    "a variable's name that is a DSN",
    "an unknown key at the top",
    "the name of an unknown key at the top",
    "the default provider",
    "the default model",
    "a wrapper's settings",
)


@pytest.fixture
def secrets() -> dict[str, str]:
    made = {place: f"zq{number:02d}-Geheim_{number * 7919}" for number, place in enumerate(PLACES)}
    made["token of a DSN with odd characters"] = "zq99/Ge:heim@x%"
    made["the name of an unknown key"] = "zq98-Geheim-98"  # with a '_' the file would be wrong
    return made


@pytest.fixture
def planted(installation: Installation, secrets: dict[str, str]) -> Any:
    """An installation full of secrets, with two servers that repeat some of them."""
    install(
        installation.packages,
        "modelbay-lab",
        "[modelbay]\nlab = modelbay_lab\n",
        SOURCE.read_text(),
    )
    s = secrets
    echo = s["a server's error that repeats the key"]
    refusing = Lab(answer=(401, {}, json.dumps({"error": f"wrong key {echo}"}))).start()
    product = s["a server's product name"]
    boasting = Lab(
        product="lab",
        models=[{"wire_id": "m", "details": {"api_token": s["a model's details"]}}],
    ).start()
    impostor = Lab(product=f"https://u:{product}@shop").start()
    odd = quote(s["token of a DSN with odd characters"], safe="")
    lab = {"kind": "lab"}
    entries: list[Any] = [
        {"id": "k1", **lab, "baseUrl": boasting.url, "apiKey": s["apiKey in the file"]},
        {"id": "k2", "kind": "fake", "enabled": False,
         "apiKey": s["apiKey of a provider that is switched off"]},
        {"id": "k3", "kind": "fake", "apiKeyEnv": "K3_VARIABLE"},
        f"fake://{s['token of a DSN in the file']}@h:1#k4",
        {"id": "k5", "baseUrl": f"fake://{s['token of a DSN as baseUrl']}@h:2"},
        f"fake://{odd}@h:3#k6",
        {"id": "k7", "kind": "fake",
         "baseUrl": f"http://{s['user of an address']}:{s['password of an address']}@127.0.0.1:9"},
        {"id": "k8", **lab, "baseUrl": f"http://127.0.0.1:9/?key={s['query of an address']}"},
        {"id": "k9", "kind": "fake",
         "headers": {"X-Any": s["a header"],
                     "authorization": f"Bearer {s['the Authorization header']}"},
         "sidecarKey": s["a plugin's own key"],
         "deep": {"accessToken": s["a plugin's own token in an object"],
                  "list": [{"password": s["a plugin's own password in a list"]}]},
         "sidecarUrl": f"http://u:{s[PLACES[15]]}@side"},
        {"id": "k10", **lab, "baseUrl": refusing.url, "apiKey": echo},
        {"id": "k11", **lab, "baseUrl": impostor.url},
        {"id": "k12", "kind": "fake", "extra": {"auth": s["auth of a plugin's own object"]},
         "oauth": {"value": s["a plugin's own object under a telling name"]},
         "label": f"openai://{s['a label that is a DSN']}@h"},
        {"id": "k13", **lab, "baseUrl": boasting.url, "label": "thirteen",
         "headers": {"X-Where": f"fake://{s['a DSN in a header']}@h"}},
        {"id": "k14", **lab, "baseUrl": boasting.url,
         "elsewhere": f"ftp://{s['a DSN under an unknown key']}@h/x",
         f"ssh://{s['the name of an unknown key']}@h": 1},
        {"id": "k15", **lab, "baseUrl": boasting.url,
         "models": {f"fake://{s['the id of a model that is a DSN']}@h": {"tools": True}}},
    ]  # fmt: skip
    installation.file.write_text(json.dumps({"providers": entries, "$schema": "x"}))
    installation.setenv("K3_VARIABLE", s["apiKeyEnv's variable"])
    installation.setenv("LLM_TOWER", f"fake://{s['token of a DSN in a variable']}@h:4")
    installation.setenv("HTTPS_PROXY", f"http://u:{s['password of a proxy']}@proxy:1")
    installation.setenv("MODELBAY_TEST_TOKEN", s["a variable that looks like a key"])
    installation.setenv("OTHER_API_KEY", s["a variable of another program"])
    data = installation.home / "data"
    data.mkdir()
    keys = data / "keys.json"
    keys.write_text(
        json.dumps(
            {
                "keys": {
                    "k12": {"key": s["a stored key"]},
                    "SOME_KEY": {"key": s["a stored key of a variable"]},
                }
            }
        )
    )
    keys.chmod(0o600)
    cached = installation.home / "cache" / "models" / "k1.json"
    cached.parent.mkdir(parents=True)
    cached.write_text(
        json.dumps(
            {
                "key": "x",
                "problem": {
                    "code": "backend_error",
                    "message": f"http://u:{s['what a kept list remembers']}@h is down",
                },
            }
        )
    )
    yield installation
    for lab_server in (refusing, boasting, impostor):
        lab_server.stop()


@pytest.fixture
def wrong_secrets() -> dict[str, str]:
    return {place: f"xv{number:02d}-Geheim_{number}" for number, place in enumerate(WRONG_PLACES)}


@pytest.fixture
def planted_wrongly(installation: Installation, wrong_secrets: dict[str, str]) -> Installation:
    """A file that every check has something to say about."""
    s = iter(wrong_secrets.values())
    entries: list[Any] = [
        {"id": "w1", "kind": "fake", "baseUrl": f"ftp://q:{next(s)}@h/x"},
        {"id": "w2", "kind": "fake", "baseUrl": f"mailto://{next(s)}@h"},
        {"id": "w3", "kind": "fake", "baseUrl": f"fake://a/b{next(s)}@h"},
        f"fake://u:{next(s)}@h#w4",
        f"fake://token@h/?x={next(s)}#w5",
        {"id": "w6", "kind": f"openai://{next(s)}@h"},
        {"id": "w7", "kind": "fake", "label": f"openai://{next(s)}@h", "probeTimeoutS": "fast"},
        {"id": f"fake://{next(s)}@h", "kind": "fake"},
        {"id": "w9", "kind": "fake", "headers": {"X": [f"fake://{next(s)}@h"]}},
        {"id": "w10", "kind": "fake", "apiKeyEnv": f"fake://{next(s)}@h", "enabled": "x"},
    ]
    top = {
        "theme": f"fake://{next(s)}@h",
        f"fake://{next(s)}@h": 1,
        "defaultProvider": f"fake://{next(s)}@h",
        "defaultModel": f"fake://{next(s)}@h/m",
        "wrappers": [f"no-such:url=http://u:{next(s)}@h"],
    }
    assert next(s, None) is None
    installation.file.write_text(json.dumps({"providers": entries, **top}))
    return installation


def contents(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_bundle_holds_none_of_the_planted_secrets(
    planted: Installation, invoke: Invoke, secrets: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "report.zip"

    result = invoke("doctor", "--bundle", str(path))

    assert result.exit_code == 1, result.output
    assert len(set(secrets.values())) == len(PLACES) == 32
    files = contents(path)
    whole = "\n".join(files.values()) + path.read_bytes().decode("latin-1")
    found = [
        place
        for place, secret in secrets.items()
        if secret in whole or quote(secret, safe="") in whole or json.dumps(secret)[1:-1] in whole
    ]
    assert found == []


def test_the_planted_secrets_are_where_the_program_sees_them(
    planted: Installation, invoke: Invoke, secrets: dict[str, str]
) -> None:
    """Else their absence would prove nothing."""
    listed = invoke("providers", "list", "--json")
    assert listed.exit_code == 0, listed.stderr
    rows = json.loads(listed.stdout)
    assert [row["id"] for row in rows if row["key"]] == [
        "k1", "k3", "k4", "k5", "k6", "k10", "k12", "tower", "k2",
    ]  # fmt: skip
    found = {
        f["subject"]: f["code"] for f in json.loads(invoke("doctor", "--json").stdout)["findings"]
    }
    assert found["provider k10"] == "key_refused"
    assert found["provider k11"] == "another_product"


PRINTING = [
    ("doctor",),
    ("doctor", "--json"),
    ("config", "check"),
    ("config", "check", "--json"),
    ("config", "explain"),
    ("config", "explain", "--json"),
    ("config", "show"),
    ("config", "show", "--json"),
]


@pytest.mark.parametrize("arguments", PRINTING)
def test_of_a_file_in_which_nothing_is_right_no_secret_is_printed_either(
    planted_wrongly: Installation,
    invoke: Invoke,
    wrong_secrets: dict[str, str],
    arguments: tuple[str, ...],
) -> None:
    result = invoke(*arguments)

    assert result.exit_code != 0
    assert [place for place, secret in wrong_secrets.items() if secret in result.output] == []


def test_nor_is_one_of_its_secrets_in_a_bundle(
    planted_wrongly: Installation,
    invoke: Invoke,
    wrong_secrets: dict[str, str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "report.zip"
    invoke("doctor", "--bundle", str(path))

    whole = "".join(contents(path).values())
    assert [place for place, secret in wrong_secrets.items() if secret in whole] == []
    found = {f["fix"] for f in json.loads(contents(path)["report.json"])["findings"]}
    assert "modelbay providers set w1 baseUrl http://h/x" in found
    assert any(fix.startswith("modelbay config edit   # /providers/5/kind: ") for fix in found)


@pytest.mark.parametrize("arguments", [*PRINTING, ("providers", "list", "--json")])
def test_what_is_printed_holds_none_of_them_either(
    planted: Installation, invoke: Invoke, secrets: dict[str, str], arguments: tuple[str, ...]
) -> None:
    del secrets["a server's product name"]  # a server may call itself what it likes

    output = invoke(*arguments).output

    assert [place for place, secret in secrets.items() if secret in output] == []


def test_a_bundle_holds_what_somebody_who_helps_needs(
    planted: Installation, invoke: Invoke, tmp_path: Path
) -> None:
    path = tmp_path / "report.zip"
    invoke("doctor", "--bundle", str(path))

    files = contents(path)
    assert sorted(files) == [
        "README.txt",
        "configuration.json",
        "environment.json",
        "report.json",
        "states.json",
    ]
    report = json.loads(files["report.json"])
    assert {"modelbay", "python", "platform"} <= set(report["program"])
    assert ("provider k10", "key_refused") in [
        (f["subject"], f["code"]) for f in report["findings"]
    ]
    configuration = json.loads(files["configuration.json"])
    assert [p["id"] for p in configuration["providers"]][:3] == ["k1", "k3", "k4"]
    states = json.loads(files["states.json"])
    assert states["k1"]["status"] == "ok"
    assert states["k1"]["kept"]["problem"]["message"] == "http://***@h is down"
    environment = json.loads(files["environment.json"])
    assert environment["K3_VARIABLE"] == environment["LLM_TOWER"] == "(set)"
    assert "OTHER_API_KEY" not in environment


def test_a_bundle_is_written_of_a_malformed_file_too(
    installation: Installation, invoke: Invoke, tmp_path: Path
) -> None:
    installation.file.write_text('{"providers": [{"apiKey": "zq-Geheim-17"')
    path = tmp_path / "report.zip"

    assert invoke("doctor", "--bundle", str(path)).exit_code == 1

    files = contents(path)
    assert "file_malformed" in files["report.json"]
    assert "Geheim" not in "".join(files.values())


def test_json_and_bundle_go_together_and_stdout_stays_one_document(
    invoke: Invoke, tmp_path: Path
) -> None:
    path = tmp_path / "report.zip"
    result = invoke("doctor", "--json", "--bundle", str(path))

    assert json.loads(result.stdout)["findings"] == []
    assert str(path) in result.stderr
    assert stat.S_ISREG(path.stat().st_mode)


def test_a_bundle_that_cannot_be_written_is_an_error_with_a_hint(
    invoke: Invoke, tmp_path: Path
) -> None:
    result = invoke("doctor", "--bundle", str(tmp_path / "no" / "such" / "folder.zip"))

    assert result.exit_code == 2
    assert "hint: modelbay doctor --bundle" in result.stderr


# --- redaction ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a s3cret-one b", "a *** b"),
        ("s3cret-one-more s3cret-one", "*** ***"),
        ("x=s3cret%2Done", "x=***"),
        ("abc", "abc"),
        ("a%2Fb%40c and a/b@c", "*** and ***"),
        ("key sk-abcdefgh12345 in", "key *** in"),
        ("Authorization: Bearer xyz.abc", "Authorization: Bearer ***"),
        ("http://u:p@h:1/x?api_key=zz&b=1", "http://***@h:1/x?api_key=***&b=1"),
        ("at 'ftp://q:a/b@c@h/x' and http://h/", "at 'ftp://***@h/x' and http://h/"),
        ("write KIND://TOKEN@HOST:PORT", "write KIND://TOKEN@HOST:PORT"),
        ("/home/sam/x", "~/x"),
    ],
)
def test_known_and_likely_secrets_are_blotted_out(text: str, shown: str) -> None:
    redaction = Redaction(["s3cret-one", "s3cret-one-more", "abc", "a/b@c", ""], "/home/sam")

    assert redaction.text(text) == shown


def test_a_member_with_a_telling_name_is_blotted_out_whatever_it_holds() -> None:
    value = {
        "password": "p",
        "apiKeyEnv": "NAME",
        "token": None,
        "keys": [{"cookie": "c"}, 1],
        "auth": {"scheme": ["a", "b"]},
        "author": "Sam",
    }

    assert Redaction([]).value(value) == {
        "password": "***",
        "apiKeyEnv": "NAME",
        "token": None,
        "keys": [{"cookie": "***"}, 1],
        "auth": {"scheme": ["***", "***"]},
        "author": "Sam",
    }
