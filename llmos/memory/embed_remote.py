"""Somebody else's server as an embedder: anything with OpenAI's ``/embeddings``.

Every text that is to be found again is sent there. The length of a vector is learnt from the first
answer, tokens are counted by the server. What it calls too long is halved until it takes it, and
that is told. Its answers are not believed: a wrong count, a number that is none or a vector of
another length is one sentence, not a vector.

A server that cannot be reached is left alone for a while, so that nobody waits for it twice.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.errors import ConfigError, LlmosError, RemoteDown, RemoteError, TextTooLong
from llmos.lean import httpx
from llmos.memory.embed import Embedded, Vectors, unit
from llmos.visible import visible

__all__ = ["RemoteEmbedder"]

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_USERINFO = re.compile(r"(?<=//)[^/?#]*@")
#: How servers say that a text is too long; each has its own words and often no code.
_TOO_LONG = re.compile(
    r"too (?:long|large)|(?:maximum|max) context|context (?:length|size|window)"
    r"|(?:less|more|fewer) than \d+ tokens|exceed\w* .*(?:token|length)|maximum .*tokens",
    re.I,
)
_PROBE = "Is anybody there?"
_SEE_LOG = "See what its own log says."
_NO_EMBEDDER = "Check that memory.embedder names an embedding model of it."


class RemoteEmbedder:
    """A model behind an address.

    Args:
        address: ``http://host:port/v1#model``.
        api_key: Bearer token, where it wants one.
        transport: For tests.
        clock: Seconds that only go forward; for tests.

    Raises:
        ConfigError: It is no address, or names no model.
    """

    def __init__(
        self,
        address: str,
        *,
        api_key: str = "",
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        base, _, self._model = address.partition("#")
        self._address = _USERINFO.sub("", base).rstrip("/")  # a password is for the server alone
        wrong = ConfigError(
            f"memory.embedder is {self._address!r}, which is no server's address with a model.",
            remedy="Write it as http://host:port/v1#model.",
        )
        try:
            url = httpx.URL(base.rstrip("/") + "/")
        except httpx.InvalidURL as error:
            raise wrong from error
        if not url.host or not self._model:
            raise wrong
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            transport=transport,
            trust_env=not _is_loopback(url.host),  # no proxy stands before this machine
        )
        self._clock = clock
        self._dimension = 0
        self._lock = threading.Lock()  # of the two below
        self._down: RemoteDown | None = None
        self._rests_until = 0.0

    @property
    def name(self) -> str:
        return f"{self._address}#{self._model}"

    @property
    def model(self) -> str:
        return self._model

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def window(self) -> int:
        """0: only the server knows."""
        return 0

    def load(self) -> None:
        """Ask the server for one vector, also where it is left alone, and learn its length.

        Raises:
            RemoteDown: It cannot be reached now.
            RemoteError: It refuses, or answers nonsense.
        """
        with self._lock:
            self._down = None
        self._embed([_PROBE], cut=False)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``; see ``Embedder.embed``.

        Raises:
            RemoteDown: The server cannot be reached now.
            RemoteError: It refuses, or answers nonsense.
        """
        return self.embed_counted(texts).vectors

    def embed_counted(self, texts: Sequence[str], *, cut: bool = True) -> Embedded:
        """The vectors of ``texts``; see ``ModelEmbedder.embed_counted``.

        Raises:
            TextTooLong: The server calls a text too long, and it must not be cut.
            RemoteDown: The server cannot be reached now.
            RemoteError: It refuses, or answers nonsense.
        """
        long = [len(text) > limits.EMBED_CHARS for text in texts]
        if not cut and any(long):
            at = long.index(True)
            told = f"The text is {len(texts[at])} characters long"
            raise TextTooLong(0, 0, at=at, told=f"{told}; at most {limits.EMBED_CHARS} are read.")
        made = _Made([], [], 0)
        for start in range(0, len(texts), limits.EMBED_REMOTE_BATCH):
            some = [_sendable(text) for text in texts[start : start + limits.EMBED_REMOTE_BATCH]]
            try:
                made += self._embed(some, cut=cut)
            except TextTooLong as error:
                error.at += start
                raise
        rows = np.concatenate(made.rows) if made.rows else np.zeros((0, self._dimension))
        truncated = tuple(a or b for a, b in zip(made.cut, long, strict=True))
        return Embedded(rows.astype(np.float32, copy=False), (), truncated, made.used)

    def close(self) -> None:
        """Close its connections. Safe to call twice."""
        self._http.close()

    # --- the wire ---------------------------------------------------------------------------

    def _embed(self, texts: list[str], *, cut: bool) -> _Made:
        """Vectors of a few texts. Where one is too long, it is found by halving the row."""
        try:
            return self._answer(texts)
        except TextTooLong as error:
            if len(texts) == 1:
                return self._shortened(texts[0], error) if cut else _reraise(error)
        half = len(texts) // 2
        first = self._embed(texts[:half], cut=cut)
        try:
            return first + self._embed(texts[half:], cut=cut)
        except TextTooLong as error:
            error.at += half
            raise

    def _shortened(self, text: str, error: TextTooLong) -> _Made:
        """The vector of as much of the text's beginning as the server takes."""
        for _ in range(limits.EMBED_REMOTE_CUTS):
            text = text[: len(text) // 2]
            if not text:
                break
            try:
                made = self._answer([text])
            except TextTooLong as again:
                error = again
            else:
                return _Made(made.rows, [True], made.used)
        raise RemoteError(
            f"The embedding server {self._address} takes no text: {error.sentence}",
            remedy=_NO_EMBEDDER,
        )

    def _answer(self, texts: list[str]) -> _Made:
        """One request."""
        with self._lock:
            if self._down is not None and self._clock() < self._rests_until:
                raise self._down
        try:
            status, body = self._post(texts)
            if status != 200:
                raise self._refusal(status, body)
        except RemoteDown as error:
            with self._lock:
                self._down = error
                self._rests_until = self._clock() + limits.EMBED_REMOTE_REST_S
            raise
        with self._lock:
            self._down = None
        try:
            rows, used = _read(body, len(texts))
            vectors = _directions(rows)
        except ValueError as error:
            raise RemoteError(
                f"The embedding server {self._address} answers what cannot be used: {error}.",
                remedy=_NO_EMBEDDER,
            ) from error
        with self._lock:
            known = self._dimension = self._dimension or rows.shape[1]
        if rows.shape[1] != known:
            raise RemoteError(
                f"The embedding server {self._address} now gives vectors of"
                f" {rows.shape[1]} numbers, not of {known}.",
                remedy="Stop llmos: at its next start all vectors are made anew.",
            )
        return _Made([vectors], [False] * len(texts), used)

    def _post(self, texts: list[str]) -> tuple[int, bytes]:
        """Status and body of one answer.

        Raises:
            RemoteDown: There is none.
            RemoteError: It is too long.
        """
        seconds = limits.EMBED_REMOTE_QUERY_S if len(texts) == 1 else limits.EMBED_REMOTE_S
        request = {"model": self._model, "input": texts, "encoding_format": "float"}
        body = bytearray()
        until = self._clock() + seconds
        try:
            with self._http.stream(
                "POST",
                "embeddings",
                json=request,
                timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            ) as answer:
                for block in answer.iter_bytes():
                    body += block
                    if len(body) > limits.EMBED_REMOTE_BYTES:
                        raise RemoteError(
                            f"The embedding server {self._address} answers too much.",
                            remedy=_NO_EMBEDDER,
                        )
                    if self._clock() > until:  # a byte now and then is no answer
                        raise httpx.ReadTimeout("")
                return answer.status_code, bytes(body)
        except (httpx.HTTPError, httpx.StreamError, RuntimeError, OSError) as error:
            raise RemoteDown(
                f"The embedding server {self._address} cannot be reached ({type(error).__name__}).",
                remedy="Check that it runs and that memory.embedder has its address.",
            ) from error

    def _refusal(self, status: int, body: bytes) -> LlmosError:
        """The server's own words about why it refused."""
        said, code = _complaint(body)
        said = visible(" ".join(said.split()))
        told = (
            f"The embedding server {self._address} refused ({status}): {said or 'no reason given'}"
        )
        if status == 429:  # "exceeded token rate limit" is no word about a text
            return RemoteDown(told, remedy=_SEE_LOG)
        if status == 413 or code == TextTooLong.code or _TOO_LONG.search(said):
            return TextTooLong(0, 0, told=told)
        if status in (401, 403):
            return RemoteError(told, remedy="Set memory.embedder_key to a key that it takes.")
        if status >= 500:  # busy, or its model still loads
            return RemoteDown(told, remedy=_SEE_LOG)
        return RemoteError(told, remedy="Check memory.embedder: its address and its model.")


@dataclass(slots=True)
class _Made:
    """Vectors, whether each text was cut, and the tokens that were computed."""

    rows: list[Vectors]
    cut: list[bool]
    used: int

    def __add__(self, other: _Made) -> _Made:
        return _Made(self.rows + other.rows, self.cut + other.cut, self.used + other.used)


def _reraise(error: LlmosError) -> _Made:
    raise error


def _sendable(text: str) -> str:
    """As UTF-8 can say it; and no longer than any embedder reads."""
    return text[: limits.EMBED_CHARS].encode("utf-8", "replace").decode()


def _read(body: bytes, texts: int) -> tuple[npt.NDArray[np.float64], int]:
    """Vectors and tokens of an answer.

    Raises:
        ValueError: It is no such answer; the message is a clause that says why.
    """
    try:
        answer = json.loads(body)
        data = answer["data"]
        listed = [(row.get("index", at), row["embedding"]) for at, row in enumerate(data)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is no list of vectors") from None
    if len(listed) != texts:
        raise ValueError(f"{len(listed)} vectors for {texts} texts")
    if sorted(at for at, _ in listed if type(at) is int) != list(range(texts)):
        raise ValueError("it does not say which vector is which text's")
    ordered = [numbers for _, numbers in sorted(listed, key=lambda row: int(row[0]))]
    sizes = {len(row) if isinstance(row, list) else 0 for row in ordered}
    if len(sizes) != 1 or not 0 < max(sizes) <= limits.EMBED_DIMENSION:
        raise ValueError("its vectors are no rows of numbers of the same length")
    if not all(type(number) in (int, float) for row in ordered for number in row):
        raise ValueError("a vector holds something that is no number")
    try:
        rows = np.array(ordered, np.float64)
    except OverflowError:
        raise ValueError("a vector holds something that is no number") from None
    if not np.isfinite(rows).all():
        raise ValueError("a vector holds something that is no number")
    usage = answer.get("usage")
    used = usage.get("prompt_tokens") if isinstance(usage, dict) else 0
    return rows, used if type(used) is int and used >= 0 else 0


def _directions(rows: npt.NDArray[np.float64]) -> Vectors:
    """Unit vectors of rows.

    Raises:
        ValueError: One has none.
    """
    vectors = unit(rows)
    length = np.linalg.norm(vectors, axis=1)
    if not (np.isfinite(length) & (length > 0)).all():
        raise ValueError("a vector has no direction")
    return vectors


def _complaint(body: bytes) -> tuple[str, str]:
    """What an error says, and its code."""
    try:
        told = json.loads(body)
        told = told.get("error", told.get("detail", told))
        if isinstance(told, dict):
            return str(told.get("message", ""))[:300], str(told.get("code", ""))
        return str(told)[:300], ""
    except (ValueError, AttributeError, RecursionError):
        return body[:300].decode("utf-8", "replace").strip(), ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
