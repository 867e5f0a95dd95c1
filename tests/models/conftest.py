"""Hand-made GGUF files, honest and lying, and a hub on loopback."""

from __future__ import annotations

import hashlib
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Make = Callable[..., bytes]


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    """Type and bytes of one metadata value; ``bytes`` pass as they are."""
    match value:
        case bytes():
            return value
        case bool():
            return struct.pack("<IB", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        case [int(), *_]:
            return struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)
    raise TypeError(value)


BASE: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.block_count": 2,
    "llama.context_length": 512,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.chat_template": "{{ messages }}",
}


def make(
    metadata: dict[str, Any] | None = None,
    *,
    base: dict[str, Any] | None = None,
    version: int = 3,
    tensors: list[tuple[str, list[int], int, int]] | None = None,
    tensor_count: int | None = None,
    key_count: int | None = None,
    data: bytes | None = None,
) -> bytes:
    """A GGUF file. ``tensors`` are (name, shape, type, offset); None in metadata drops a key."""
    merged = {**(BASE if base is None else base), **(metadata or {})}
    keys = {key: value for key, value in merged.items() if value is not None}
    if tensors is None:
        tensors = [("token_embd.weight", [64, 3], 0, 0), ("blk.0.attn_q.weight", [64, 64], 8, 768)]
    head = b"GGUF" + struct.pack(
        "<IQQ",
        version,
        len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count,
    )
    for key, value in keys.items():
        head += _text(key) + _value(value)
    for name, shape, kind, offset in tensors:
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, offset)
    head += b"\0" * (-len(head) % 32)
    return head + (b"\0" * (768 + 64 * 64 // 32 * 34) if data is None else data)


@pytest.fixture(scope="session")
def make_gguf() -> Make:
    return make


# --- a hub ------------------------------------------------------------------------------------


@dataclass
class Hub:
    """A model hub on loopback, with faults to order.

    Args:
        files: Content by path (``owner/repo/file``).
        stated: Checksums the hub states, where they differ from the truth.
        cut: For each coming GET, after how many bytes to break the connection.
        ranges: Whether Range requests are honoured.
        renamed: Old repository to new; the hub redirects within itself.
        storage: Address of another server that files are redirected to, as the public hub does.
        requests: What was asked: (method, path, Range or empty).
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    stated: dict[str, str] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    fail: list[int] = field(default_factory=list)
    ranges: bool = True
    head_status: int = 0
    etag: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    storage: str = ""
    commit: str = "c" * 40
    sent: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event | None = None
    tokens: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None: ...

    def _find(self) -> tuple[str, bytes] | None:
        self.hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
        self.hub.tokens.append(self.headers.get("Authorization", ""))
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        name = f"{found[1]}/{found[3]}" if found else ""
        if name not in self.hub.files:
            self._plain(404)
            return None
        return name, self.hub.files[name]

    def _moved(self) -> bool:
        for old, new in self.hub.renamed.items():
            if self.path.startswith(f"/{old}/"):
                self._plain(307, Location=self.path.replace(old, new, 1))
                return True
        return False

    def _plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        if self.hub.head_status:
            self.hub.requests.append(("HEAD", self.path, ""))
            return self._plain(self.hub.head_status)
        if self._moved() or (found := self._find()) is None:
            return None
        name, content = found
        sha256 = self.hub.stated.get(name, hashlib.sha256(content).hexdigest())
        self.send_response(302 if self.hub.storage else 200)
        if self.hub.storage:
            self.send_header("Location", self.hub.storage + self.path)
        self.send_header("Content-Length", "0" if self.hub.storage else str(len(content)))
        self.send_header("X-Linked-Size", str(len(content)))
        if sha256:
            self.send_header("X-Linked-Etag", f'"{sha256}"')
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.end_headers()
        return None

    def do_GET(self) -> None:
        if self._moved() or (found := self._find()) is None:
            return None
        if self.hub.storage:
            return self._plain(302, Location=self.hub.storage + self.path)
        if self.hub.fail:
            return self._plain(self.hub.fail.pop(0))
        _, content = found
        etag = self.hub.etag or f'"{hashlib.sha256(content).hexdigest()[:12]}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", etag) == etag
        start = int(asked[1]) if asked and self.hub.ranges and same else 0
        if start and start >= len(content):
            return self._plain(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", etag)
        self.end_headers()
        end = start + self.hub.cut.pop(0) if self.hub.cut else len(content)
        self.wfile.write(content[start:end])
        self.wfile.flush()
        self.hub.sent.set()
        if self.hub.hold:
            self.hub.hold.wait(20)
        if end < len(content):
            self.close_connection = True
            self.connection.close()
        return None

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass


@contextmanager
def serve() -> Iterator[Hub]:
    """An empty hub on a port of its own."""
    state = Hub()
    handler = type("Handler", (_Handler,), {"hub": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    yield state
    if state.hold:
        state.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that pulls go to, and no waiting between tries."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("llmos.limits.PULL_BACKOFF_S", 0.0)
    with serve() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.address)
        yield state


@pytest.fixture
def storage() -> Iterator[Hub]:
    """A second server, to which a hub may redirect."""
    with serve() as state:
        yield state
