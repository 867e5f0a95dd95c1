"""The ground the other tests stand on holds."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from llmos import paths


def test_state_lies_in_the_home_of_the_test(home: Path):
    assert paths.state_dir().is_relative_to(home)
    assert paths.models_dir().is_relative_to(home)
    assert paths.config_file().is_relative_to(home)


def test_a_connection_beyond_this_machine_is_refused():
    with socket.socket() as sock, pytest.raises(PermissionError, match="no network"):
        sock.connect(("192.0.2.1", 80))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(PermissionError, match="no network"),
    ):
        sock.sendto(b"", ("192.0.2.1", 53))


async def test_asyncio_cannot_leave_this_machine_either():
    with pytest.raises(PermissionError, match="no network"):
        await asyncio.open_connection("192.0.2.1", 80)


async def test_loopback_and_unix_sockets_are_open(tmp_path: Path):
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    tcp = await asyncio.start_server(greet, "127.0.0.1", 0)
    unix = await asyncio.start_unix_server(greet, tmp_path / "s")
    async with tcp, unix:
        reader, writer = await asyncio.open_connection(*tcp.sockets[0].getsockname())
        assert await reader.read() == b"hello"
        writer.close()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.read() == b"hello"
        writer.close()


def test_the_weights_are_where_their_packages_say(starter_weights: Path, gemma_weights: Path):
    for path in (starter_weights, gemma_weights):
        with path.open("rb") as file:
            assert file.read(4) == b"GGUF"


def test_the_embedder_is_where_its_packages_say(embedder_weights: Path, embedder_tokenizer: Path):
    assert embedder_weights.stat().st_size > 20_000_000
    assert embedder_tokenizer.read_bytes()[:2] == b"PK"
