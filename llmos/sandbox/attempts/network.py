"""Attempts to talk to anybody outside: by any family of sockets, by name, by descriptor."""

from __future__ import annotations

import array
import contextlib
import os
import socket

from .registry import Scene, attempt

__all__: list[str] = []

_SECONDS = 1.0


def _connect(family: int, kind: int, address: object) -> str:
    with socket.socket(family, kind) as link:
        link.settimeout(_SECONDS)
        link.connect(address)  # type: ignore[arg-type]
    return "connected"


def _unix(path: str) -> str:
    os.chdir(os.path.dirname(path))  # a socket's address is shorter than many a path
    return _connect(socket.AF_UNIX, socket.SOCK_STREAM, os.path.basename(path))


@attempt()
def tcp4(scene: Scene) -> str:
    """Connect by TCP over IPv4."""
    return _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", scene.tcp4))


@attempt()
def tcp6(scene: Scene) -> str:
    """Connect by TCP over IPv6."""
    return _connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", scene.tcp6))


@attempt()
def udp(scene: Scene) -> str:
    """Send a UDP packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(scene.token.encode(), ("127.0.0.1", scene.udp))
    return ""  # sent is not arrived: the outside tells


@attempt(harmless=False)
def dns(scene: Scene) -> str:
    """Ask a name server, as if for the address of a secret."""
    servers = ["127.0.0.53", "1.1.1.1"]
    with contextlib.suppress(OSError), open("/etc/resolv.conf") as file:
        servers[:0] = [line.split()[1] for line in file if line.startswith("nameserver ")]
    question = b"\0\1\1\0\0\1\0\0\0\0\0\0\5llmos\7invalid\0\0\1\0\1"
    for server in servers[:3]:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as link:
            link.sendto(question, (server, 53))
            return f"sent a question to {server}"
    return ""


@attempt()
def raw_socket(scene: Scene) -> str:
    """Open a raw socket."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "opened it"


@attempt()
def packet_socket(scene: Scene) -> str:
    """Open a socket on the wire itself."""
    socket.socket(getattr(socket, "AF_PACKET", -1), socket.SOCK_RAW).close()
    return "opened it"


@attempt()
def netlink(scene: Scene) -> str:
    """Ask the kernel for its network devices."""
    kind = socket.SOCK_RAW | getattr(socket, "SOCK_CLOEXEC", 0)
    with socket.socket(getattr(socket, "AF_NETLINK", -1), kind, 0) as link:
        link.bind((0, 0))
    return "opened it"


@attempt()
def hypervisor_socket(scene: Scene) -> str:
    """Open a socket to the machine's hypervisor."""
    socket.socket(getattr(socket, "AF_VSOCK", -1), socket.SOCK_STREAM).close()
    return "opened it"


@attempt()
def crypto_socket(scene: Scene) -> str:
    """Open a socket to the kernel's ciphers, a way into it more than once."""
    socket.socket(getattr(socket, "AF_ALG", -1), socket.SOCK_SEQPACKET).close()
    return "opened it"


@attempt()
def kernel_socket(scene: Scene) -> str:
    """Connect to a kernel's own socket."""
    return _unix(os.path.join(scene.secrets, "kernel.sock"))


@attempt()
def unix_in_readable(scene: Scene) -> str:
    """Connect to a Unix socket in a folder that may be read."""
    return _unix(os.path.join(scene.readable, "near.sock"))


@attempt()
def unix_abstract(scene: Scene) -> str:
    """Connect to a Unix socket that has no path."""
    if not scene.abstract:
        return ""
    return _connect(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{scene.abstract}")


@attempt()
def system_bus(scene: Scene) -> str:
    """Connect to a service of the system: the message bus, containers, a display, an agent."""
    uid = os.getuid()
    for path in (
        "/run/dbus/system_bus_socket",
        f"/run/user/{uid}/bus",
        "/var/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/systemd/private",
        "/dev/log",
        "/tmp/.X11-unix/X0",
        f"/run/user/{uid}/wayland-0",
        f"/run/user/{uid}/gnupg/S.gpg-agent",
    ):
        with contextlib.suppress(OSError):
            return f"{_connect(socket.AF_UNIX, socket.SOCK_STREAM, path)} to {path}"
    return ""


@attempt()
def receive_descriptor(scene: Scene) -> str:
    """Have an accomplice outside hand over an open file."""
    path = os.path.join(scene.secrets, "passing.sock")
    os.chdir(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_SECONDS)
        link.connect(os.path.basename(path))
        room = socket.CMSG_LEN(array.array("i").itemsize)
        for _, kind, data in link.recvmsg(1, room)[1]:
            if kind == socket.SCM_RIGHTS:
                got = array.array("i", data[: array.array("i").itemsize])[0]
                return scene.told(os.pread(got, 4096, 0), "read the file")
    return ""


@attempt()
def bound_outside(scene: Scene) -> str:
    """Leave a Unix listener in the workspace for a program outside to trust."""
    os.chdir(scene.workspace)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.bind("trusted.sock")
    return "left one"
