"""A hub on this machine, as much of one as fetching and pushing weights needs."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"

Served = dict[str, bytes]
"""Content by `org/name/file`; `visibility org/name`; `fetched file`: how often."""


class Hub(BaseHTTPRequestHandler):
    """Answers the hub's client."""

    served: ClassVar[Served]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        kind, _, rest = self.path.strip("/").partition("?")[0].partition("/")
        if kind == "api":
            return self._api("/".join(rest.split("/")[1:3]), rest.split("/")[3:])
        name, _, file = f"{kind}/{rest}".partition(f"/resolve/{COMMIT}/")
        content = self.served.get(f"{name}/{file}")
        if content is None:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        if self.command == "GET":
            before = self.served.get(f"fetched {file}")
            self.served[f"fetched {file}"] = b"again" if before else b"once"
        return self._answer(200, content, {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.served["visibility " + name] = asked["visibility"].encode()
            return self._json({"url": f"https://huggingface.co/{name}", "name": name, "id": name})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self._json(
                {
                    "files": [
                        {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files
                    ]
                }
            )
        name = "/".join(self.path.split("/")[3:5])
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                value = line["value"]
                self.served[f"{name}/{value['path']}"] = base64.b64decode(value["content"])
        return self._json(
            {
                "success": True,
                "commitOid": COMMIT,
                "commitUrl": f"https://huggingface.co/{name}/commit/{COMMIT}",
            }
        )

    def _api(self, name: str, asked: list[str]) -> None:
        files = {
            key.removeprefix(f"{name}/"): value
            for key, value in self.served.items()
            if key.startswith(f"{name}/")
        }
        if name == "team/broken":
            return self._answer(503, b"", {})
        if name == "team/gated":
            return self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if not files:
            return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if asked[:1] == ["tree"]:
            return self._json(
                [
                    {"type": "file", "path": path, "size": len(value), "oid": _digest(value)}
                    for path, value in files.items()
                ]
            )
        if asked[:1] == ["revision"] and asked[1] not in ("main", COMMIT):
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return self._json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]})

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that it overrides
        """Say nothing."""


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """The address of a hub with some content."""
    handler = type("OneHub", (Hub,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
