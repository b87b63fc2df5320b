"""A small stand-in for the model hub: the few calls that its client makes to fetch a file."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OLD, NEW = "a" * 40, "b" * 40


@dataclass
class Hub:
    """What is served, and what was asked for.

    Attributes:
        files: per commit and path the content.
        branches: commit of each branch.
        status: an answer for every file instead of its content: (status, X-Error-Code).
        cut: drop the connection half way through the first download of this path.
        flipped: serve this path with one bit flipped.
        asked: (method, path, Range header) of every request.
    """

    files: dict[tuple[str, str], bytes]
    branches: dict[str, str] = field(default_factory=lambda: {"main": NEW})
    status: tuple[int, str] | None = None
    cut: str = ""
    flipped: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            served = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub, asked = self.served, self.headers.get("Range", "")
        hub.asked.append((self.command, self.path, asked))
        if hub.status is not None:
            return self._refuse(*hub.status)
        _, _, rest = self.path.partition("/resolve/")
        revision, _, path = rest.partition("/")
        commit = hub.branches.get(revision, revision)
        if not any(c == commit for c, _ in hub.files):
            return self._refuse(404, "RevisionNotFound")
        if (commit, path) not in hub.files:
            return self._refuse(404, "EntryNotFound", commit)
        content = hub.files[commit, path]
        return self._send(content, commit, path, int(asked[6:].partition("-")[0] or 0), body)

    def _refuse(self, status: int, code: str, commit: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, commit: str, path: str, start: int, body: bool) -> None:
        etag = hashlib.sha256(content).hexdigest()
        if self.served.flipped == path:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return
        if self.served.cut == path:
            self.served.cut = ""
            self.wfile.write(content[start : len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content[start:])
