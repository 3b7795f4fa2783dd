"""Misconfigured addresses, on real sockets: the code is exact, and the fix works."""

import socket

import pytest

from cli.bench import Apply, Bench, Cases, bench, free_port, require_code_and_fix, typed
from cli.lab_server import CERTIFICATES

__all__ = ["bench"]  # a fixture

CASES = Cases()


@CASES.add("wrong_port")
def wrong_port(bench: Bench) -> Apply:
    bench.installation.setenv("LAB_USUAL_PORT", str(bench.lab().port))
    bench.configure(f"http://127.0.0.1:{free_port()}")
    return typed(bench)


@CASES.add("wrong_port", "another product is there")
def taken_port(bench: Bench) -> Apply:
    bench.installation.setenv("LAB_USUAL_PORT", str(bench.lab().port))
    bench.configure(bench.lab(product="web shop").url)
    return typed(bench)


@CASES.add("wrong_kind")
def wrong_kind(bench: Bench) -> Apply:
    bench.installation.setenv("MILL_USUAL_PORT", str(free_port()))
    bench.configure(bench.lab(product="mill").url)
    return typed(bench)


@CASES.add("another_product")
def another_product(bench: Bench) -> Apply:
    bench.configure(bench.lab(product="web shop").url)
    right = bench.lab()
    return lambda found: bench.type(found["fix"].replace("http://HOST:PORT", right.url))


def require_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


@CASES.add("ipv6_only")
def ipv6_only(bench: Bench) -> Apply:
    require_ipv6()
    lab = bench.lab(host="::1")
    bench.configure(f"http://127.0.0.1:{lab.port}")
    return typed(bench)


@CASES.add("ipv4_only")
def ipv4_only(bench: Bench) -> Apply:
    require_ipv6()
    bench.configure(f"http://[::1]:{bench.lab().port}")
    return typed(bench)


@CASES.add("address_unspecified")
def address_unspecified(bench: Bench) -> Apply:
    bench.configure(f"http://0.0.0.0:{bench.lab().port}")
    return typed(bench)


@CASES.add("address_with_path")
def address_with_path(bench: Bench) -> Apply:
    bench.configure(f"{bench.lab().url}/v1")
    return typed(bench)


@CASES.add("address_with_path", "of a whole endpoint")
def address_of_an_endpoint(bench: Bench) -> Apply:
    bench.configure(f"{bench.lab().url}/v1/chat/completions")
    return typed(bench)


@CASES.add("address_with_path", "in a variable")
def address_in_a_variable(bench: Bench) -> Apply:
    """What stands in no file cannot be changed there: it is put into it, where it wins."""
    bench.installation.configure()
    bench.installation.setenv("LLM_DESK", f"lab://127.0.0.1:{bench.lab().port}/v1")
    return typed(bench)


@CASES.add("scheme_missing")
def scheme_missing(bench: Bench) -> Apply:
    bench.configure(f"127.0.0.1:{bench.lab().port}")
    return typed(bench)


@CASES.add("address_missing")
def address_missing(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.installation.configure({"id": "desk", "kind": "lab"})
    return lambda found: bench.type(found["fix"].replace("http://HOST:PORT", lab.url))


@CASES.add("name_not_resolved")
def name_not_resolved(bench: Bench) -> Apply:
    lab = bench.lab()
    bench.configure(f"http://no-such-host.invalid:{lab.port}")
    return lambda found: bench.type(found["fix"].replace("http://HOST:PORT", lab.url))


@CASES.add("tls_on_plain_port")
def tls_on_plain_port(bench: Bench) -> Apply:
    bench.configure(f"https://127.0.0.1:{bench.lab().port}")
    return typed(bench)


@CASES.add("plain_on_tls_port")
def plain_on_tls_port(bench: Bench) -> Apply:
    bench.installation.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
    bench.configure(f"http://127.0.0.1:{bench.lab(certificate='good').port}")
    return typed(bench)


@CASES.add("certificate_untrusted")
def certificate_untrusted(bench: Bench) -> Apply:
    bench.configure(bench.lab(certificate="good").url)
    ca = str(CERTIFICATES / "ca.pem")
    return lambda found: bench.type(found["fix"].replace("CA.pem", ca))


@CASES.add("certificate_expired")
def certificate_expired(bench: Bench) -> Apply:
    return with_another_certificate(bench, "expired")


@CASES.add("certificate_wrong_host")
def certificate_wrong_host(bench: Bench) -> Apply:
    bench.installation.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
    bench.configure(bench.lab(certificate="stranger").url)
    right = bench.lab(certificate="good")
    return lambda found: bench.type(found["fix"].replace("https://NAME", right.url))


def with_another_certificate(bench: Bench, name: str) -> Apply:
    bench.installation.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
    lab = bench.lab(certificate=name)
    bench.configure(lab.url)

    def renew(found: dict[str, str]) -> None:
        assert "certificate" in found["fix"]
        lab.stop()
        lab.certificate = "good"
        lab.start()

    return renew


@CASES.add("certificates_unreadable")
def certificates_unreadable(bench: Bench) -> Apply:
    # The system's own certificates do not know the lab's, so what is left is a plain address.
    bench.installation.setenv("SSL_CERT_FILE", str(bench.installation.home / "gone.pem"))
    bench.configure(bench.lab(certificate="good").url)

    def mend(found: dict[str, str]) -> None:
        bench.type(found["fix"])
        [next_one] = bench.findings()
        assert next_one["code"] == "certificate_untrusted"
        bench.type(next_one["fix"].replace("CA.pem", str(CERTIFICATES / "ca.pem")))

    return mend


@CASES.add("proxy_in_the_way")
def proxy_in_the_way(bench: Bench) -> Apply:
    """This machine under a name that does not say so, and a proxy that cannot reach it."""
    bench.installation.setenv("HTTP_PROXY", bench.lab().url)
    bench.configure(f"http://127.1:{bench.lab().port}")
    return typed(bench)


@CASES.add("proxy_unreachable")
def proxy_unreachable(bench: Bench) -> Apply:
    """The address is behind the proxy alone; the proxy's own server answers for it."""
    bench.installation.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    bench.configure("http://lab.invalid")

    def mend(found: dict[str, str]) -> None:
        bench.type(found["fix"])
        [next_one] = bench.findings()
        assert next_one["code"] == "name_not_resolved"
        bench.type(next_one["fix"].replace("http://HOST:PORT", bench.lab().url))

    return mend


@CASES.add("redirect")
def redirect(bench: Bench) -> Apply:
    right = bench.lab()
    moved = bench.lab(answer=(301, {"Location": f"{right.url}/"}, ""))
    bench.configure(moved.url)
    return typed(bench)


@CASES.add("not_json")
def not_json(bench: Bench) -> Apply:
    page = (200, {"Content-Type": "text/html"}, "<html>Welcome to nginx!</html>")
    bench.configure(bench.lab(answer=page).url)
    right = bench.lab()
    return lambda found: bench.type(found["fix"].replace("http://HOST:PORT", right.url))


@pytest.mark.parametrize("name", CASES)
def test_a_misconfiguration_gets_its_code_and_its_fix_works(bench: Bench, name: str) -> None:
    require_code_and_fix(bench, CASES, name)
