"""Mirrors modelbay_gateway/page/files.py and surface.py, over real sockets."""

import re

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk
from modelbay_gateway.client_keys import ClientKey, digest
from modelbay_gateway.page.files import page_files
from modelbay_gateway.page.surface import CONTENT_SECURITY_POLICY
from modelbay_gateway.scopes import EVERY_SCOPE
from modelbay_gateway.security import Access

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
KEY = "a-key-for-tests-0123456789"
CODE = {name: file.body.decode() for name, file in page_files().items()}
SCRIPTS = {name: text for name, text in CODE.items() if name.endswith(".js")}


def test_a_browser_gets_the_page_and_a_program_gets_json(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    page, plain = client.get("/", headers=HTML), client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    assert plain.json()["name"] == "modelbay"
    assert page.headers["vary"] == plain.headers["vary"] == "Accept"


@pytest.mark.parametrize("name", sorted(page_files()))
def test_every_file_has_its_type_and_a_policy_that_lets_nothing_else_run(
    start: Start, raw: Raw, name: str
) -> None:
    answer = raw(start(desk(acme()))).get(f"/page/{name}")

    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    types |= {".html": "text/html; charset=utf-8", ".svg": "image/svg+xml"}
    assert answer.status_code == 200
    assert answer.headers["content-type"] == types[name[name.rfind(".") :]]
    assert (
        answer.headers["content-security-policy"]
        == CONTENT_SECURITY_POLICY.decode()
        == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-dns-prefetch-control"] == "off"


@pytest.mark.parametrize("path", ["/", "/page/script/main.js"])
def test_what_a_browser_has_already_is_not_sent_again(start: Start, raw: Raw, path: str) -> None:
    client = raw(start(desk(acme())))
    tag = client.get(path, headers=HTML).headers["etag"]

    known = client.get(path, headers={**HTML, "if-none-match": f'"other", W/{tag}'})
    other = client.get(path, headers={**HTML, "if-none-match": '"other"'})

    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path", ["/page/../surface.py", "/page/%2e%2e/surface.py", "/page/none.js", "/page/script"]
)
def test_nothing_but_the_page_is_there(start: Start, raw: Raw, path: str) -> None:
    answer = raw(start(desk(acme()))).get(path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_page_is_open_and_what_it_asks_for_is_not(start: Start, raw: Raw) -> None:
    keys = (ClientKey("test", EVERY_SCOPE, digest(KEY), 0),)
    client = raw(start(desk(acme()), access=Access(given_keys=keys)))

    assert client.get("/", headers=HTML).status_code == 200
    assert client.get("/page/script/main.js").status_code == 200
    assert client.get("/api/models").status_code == 401


def test_head_gives_the_headers_alone(start: Start, raw: Raw) -> None:
    answer = raw(start(desk(acme()))).head("/", headers=HTML)

    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(page_files()["index.html"].body)


def test_nothing_in_the_html_would_need_a_weaker_policy() -> None:
    html = CODE["index.html"]

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_reads_text_as_markup(name: str) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    forbidden += r"|DOMParser|createContextualFragment|srcdoc|setHTML"

    assert re.findall(forbidden, SCRIPTS[name]) == []


@pytest.mark.parametrize("name", CODE)
def test_no_file_names_another_place(name: str) -> None:
    """What is loaded, is loaded from here."""
    named = set(re.findall(r"https?://[\w.]+[\w/.]*", CODE[name]))

    assert named <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_module_that_is_imported_is_there(name: str) -> None:
    imported = re.findall(r'from "\./([\w-]+\.js)"', SCRIPTS[name])

    assert [each for each in imported if f"script/{each}" not in SCRIPTS] == []
    assert SCRIPTS[name].count("\n") < 500
