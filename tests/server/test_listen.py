"""The listeners: a private socket, one kernel a socket, nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import stat

import pytest

from llmos.errors import KernelError, KernelRunning
from llmos.server import create_app, serve


def leave_stale(path):
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


async def test_only_this_user_can_open_the_socket(served):
    mode = stat.S_IMODE(served.socket.stat().st_mode)
    folder = stat.S_IMODE(served.socket.parent.stat().st_mode)
    assert (mode, folder) == (0o600, 0o700)
    assert [path.name for path in served.socket.parent.iterdir()] == ["k.sock"]


async def test_the_socket_is_gone_when_the_server_is(kernel, tmp_path, serving):
    path = tmp_path / "k.sock"
    async with serving(kernel, path):
        assert path.exists()
    assert not path.exists()


async def test_a_dead_kernel_s_socket_is_replaced(kernel, tmp_path, serving):
    path = tmp_path / "state" / "k.sock"
    leave_stale(path)
    async with serving(kernel, path) as served, served.http() as http:
        assert (await http.get("/kernel/v1/status")).status_code == 200


async def test_a_living_kernel_s_socket_is_left_alone(kernel, served):
    with pytest.raises(KernelRunning):
        await serve(create_app(kernel), served.socket)
    async with served.http() as http:
        assert (await http.get("/kernel/v1/status")).status_code == 200


async def test_a_file_in_the_way_is_not_deleted(kernel, tmp_path):
    path = tmp_path / "k.sock"
    path.write_text("precious")
    with pytest.raises(KernelError, match="in the way"):
        await serve(create_app(kernel), path)
    assert path.read_text() == "precious"


async def test_a_port_in_use_is_said_and_leaves_no_socket(kernel, tmp_path):
    path = tmp_path / "k.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KernelError, match=f"Port {port}"):
            await serve(create_app(kernel), path, port, "secret")
    assert not path.exists()


async def test_tcp_without_a_token_is_refused(kernel, tmp_path):
    with pytest.raises(KernelError, match="token"):
        await serve(create_app(kernel), tmp_path / "k.sock", None, "")


async def test_a_stopping_server_cancels_the_replies_that_run(kernel, tmp_path, serving):
    kernel.backend.gate.clear()
    async with serving(kernel, tmp_path / "k.sock") as served:
        client = served.openai()
        stream = await client.chat.completions.create(
            model="starter", messages=[{"role": "user", "content": "x"}], stream=True
        )
        await anext(stream)
    assert kernel.backend.speeches[0].cancelled.is_set()
    await client.close()


async def test_signals_are_left_to_the_boot_code(kernel, tmp_path, serving, monkeypatch):
    import signal

    touched = []
    monkeypatch.setattr(signal, "signal", lambda *a: touched.append(a))
    async with serving(kernel, tmp_path / "k.sock"):
        await asyncio.sleep(0)
    assert touched == []
