"""A web server on this machine, for tests."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class Web(ThreadingHTTPServer):
    """A folder on a web server that knows byte ranges, as object stores do; it can be made to fail."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.folder = folder
        self.asked: list[str] = []
        """Paths, in the order in which they were asked for."""
        self.busy = 0
        """Requests that are still to be answered with 503."""
        self.refused = ""
        """What is in the paths that are answered with 403."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content in one packet: else each answer waits 40 ms
    server: Web

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        self.server.asked.append(path)
        file = self.server.folder / path
        if self.server.busy:
            self.server.busy -= 1
            self._answer(503, b"")
        elif self.server.refused and self.server.refused in path:
            self._answer(403, b"")
        elif file.is_file():
            self._send(file.read_bytes())
        else:
            self._answer(404, b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, content)
            return
        size, (first, last) = len(content), asked.groups()
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        self._answer(206, content[start:end], f"bytes {start}-{end - 1}/{size}")

    def _answer(self, status: int, content: bytes, part: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        pass
