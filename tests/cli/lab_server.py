"""The server of the fake lab: real sockets, and everything about it can be wrong."""

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

CERTIFICATES = Path(__file__).with_name("certificates")


@dataclass
class Lab:
    """What the server is and does; may be changed while it runs.

    Attributes:
        wait: Answers wait for this event.
        answer: Instead of everything else: status, headers, body.
        now: Its clock, in seconds since 1970; ``None`` for the right time.
    """

    product: str = "lab"
    version: str = "2.1"
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"wire_id": "one"}])
    key: str | None = None
    autoload: bool = True
    healthy: bool = True
    certificate: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    now: float | None = None
    wait: threading.Event | None = None
    wait_s: float | None = None
    answer: tuple[int, dict[str, str], str] | None = None
    seen: list[str] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def start(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        server_class = type("_Server", (_Server,), {"address_family": family})
        self._server = server_class((self.host, self.port), _handler(self))
        self.port = self._server.server_address[1]
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / f"{self.certificate}.pem")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        if self.wait is not None:
            self.wait.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that break off are what these tests are about


def _handler(lab: Lab) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(lab.now, usegmt=True)

        def do_GET(self) -> None:
            lab.seen.append(self.path)
            if lab.wait is not None:
                lab.wait.wait(lab.wait_s)
            if lab.answer is not None:
                self._send(*lab.answer)
                return
            if self.path.startswith("http://"):  # asked as a proxy, and it is none
                self._send(502, {}, "no proxy here")
                return
            if lab.key is not None and self.path.startswith("/api/"):
                given = self.headers.get("Authorization")
                if given != f"Bearer {lab.key}":
                    self._send(401, {}, '{"error": "the key is wrong"}')
                    return
            documents: dict[str, Any] = {
                "/": {},
                "/api/about": {
                    "product": lab.product,
                    "version": lab.version,
                    "autoload": lab.autoload,
                    "healthy": lab.healthy,
                },
                "/api/models": {"models": lab.models},
            }
            if self.path not in documents:
                self._send(404, {}, '{"error": "no such path"}')
                return
            self._json(documents[self.path])

        def do_POST(self) -> None:
            for model in lab.models:
                model["state"] = "loaded"
            self._json({})

        def _json(self, document: Any) -> None:
            self._send(200, {"Content-Type": "application/json"}, json.dumps(document))

        def _send(self, status: int, headers: dict[str, str], body: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    return Handler
