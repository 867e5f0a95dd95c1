"""Attempts on files that nobody granted: to read, to change and to leave something behind."""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
from pathlib import Path

from .registry import Scene, attempt, libc, syscall

__all__: list[str] = []

_CHUNK = 65536


def _read(path: str | int) -> bytes:
    fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, _CHUNK)
    finally:
        if not isinstance(path, int):
            os.close(fd)


def _inside(scene: Scene, name: str) -> str:
    return os.path.join(scene.workspace, name)


# --- to read ------------------------------------------------------------------------------------


@attempt()
def read_secret(scene: Scene) -> str:
    """Read a file outside the granted folders by its path."""
    return scene.told(_read(scene.secret), "read it")


@attempt()
def read_password_hashes(scene: Scene) -> str:
    """Read the system's password hashes."""
    return f"{len(_read('/etc/shadow'))} bytes of /etc/shadow"


@attempt()
def list_home(scene: Scene) -> str:
    """List the person's home and the keys in it."""
    found = set(os.listdir(scene.home)) - set(scene.home_names)
    return f"{len(found)} names" if found else ""


@attempt()
def list_state_directory(scene: Scene) -> str:
    """List the folder where llmos keeps its journal."""
    found = set(os.listdir(scene.state)) - {"sandbox"}
    return f"{len(found)} names" if found else ""


@attempt()
def list_secrets(scene: Scene) -> str:
    """List a folder that nobody granted."""
    return ", ".join(os.listdir(scene.secrets))


@attempt()
def read_other_workspace(scene: Scene) -> str:
    """Read what another task has in its workspace."""
    return scene.told(_read(os.path.join(scene.other, "secret.txt")), "read it")


@attempt()
def follow_symlink(scene: Scene) -> str:
    """Read through a symbolic link to an absolute path."""
    link = _inside(scene, "link")
    os.symlink(scene.secret, link)
    return scene.told(_read(link), "read it")


@attempt()
def make_hard_link(scene: Scene) -> str:
    """Make a hard link to a file outside, and read that."""
    link = _inside(scene, "hard")
    os.link(scene.secret, link)
    return scene.told(_read(link), "read it") or "made it"


@attempt()
def climb_with_dots(scene: Scene) -> str:
    """Climb out of the workspace with .. from an open folder."""
    way = os.path.relpath(scene.secret, scene.workspace)
    folder = os.open(scene.workspace, os.O_RDONLY)
    return scene.told(_read(os.open(way, os.O_RDONLY, dir_fd=folder)), "read it")


@attempt()
def through_root_of_init(scene: Scene) -> str:
    """Read through /proc/1/root."""
    return scene.told(_read(f"/proc/1/root{scene.secret}"), "read it")


@attempt()
def through_own_root(scene: Scene) -> str:
    """Read through /proc/self/root and /proc/thread-self/root."""
    for name in ("self", "thread-self"):
        try:
            return scene.told(_read(f"/proc/{name}/root{scene.secret}"), "read it")
        except FileNotFoundError:
            continue
    return ""


@attempt()
def through_root_of_another(scene: Scene) -> str:
    """Read through the root and the working directory of another process."""
    for way in (f"root{scene.secret}", f"cwd{scene.secret}", f"fd/{scene.victim_fd}"):
        try:
            if told := scene.told(_read(f"/proc/{scene.victim}/{way}"), "read it"):
                return told
        except OSError:
            continue
    return ""


@attempt()
def inherited_files(scene: Scene) -> str:
    """Read from descriptors that were open when the jail was started."""
    for fd in range(3, 1024):
        for way in (fd, f"/proc/self/fd/{fd}"):
            try:
                if stat.S_ISREG(os.stat(way).st_mode) and scene.token.encode() in (
                    os.pread(fd, _CHUNK, 0) if way == fd else _read(way)
                ):
                    return f"descriptor {fd}"
            except OSError:
                continue
    return ""


@attempt()
def inherited_folders(scene: Scene) -> str:
    """Open files beneath folders that were open when the jail was started."""
    for fd in range(3, 1024):
        for way in ("secret.txt", "../secrets/secret.txt"):
            try:
                if scene.told(_read(os.open(way, os.O_RDONLY, dir_fd=fd)), "read it"):
                    return f"descriptor {fd}"
            except OSError:
                continue
    return ""


@attempt()
def open_by_handle(scene: Scene) -> str:
    """Open a file by its handle, which knows no folders."""
    folder = os.open(scene.workspace, os.O_RDONLY)
    Path(_inside(scene, "handle")).write_bytes(b"")
    buffer = ctypes.create_string_buffer(128 + 8)
    ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint))[0] = 128
    mount = ctypes.c_int()
    syscall("name_to_handle_at", folder, ctypes.c_char_p(b"handle"), buffer, ctypes.byref(mount), 0)
    return f"descriptor {syscall('open_by_handle_at', folder, buffer, os.O_RDONLY)}"


@attempt()
def watch_folder(scene: Scene) -> str:
    """Watch what happens in a folder that nobody granted."""
    inotify = libc().inotify_init1
    watch = libc().inotify_add_watch
    fd = inotify(0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "watches it" if watch(fd, os.fsencode(scene.secrets), 0xFFF) >= 0 else ""


@attempt()
def devices(scene: Scene) -> str:
    """Read a disk, the memory, or a device of the machine."""
    # Not every device: to open some, such as a watchdog, is to use them.
    telling = {"mem", "kmem", "port", "kmsg", "kvm", "fuse", "loop-control", "vhost-net", "uinput"}
    for name in sorted(os.listdir("/dev")):
        path = f"/dev/{name}"
        try:
            if name not in telling and not stat.S_ISBLK(os.lstat(path).st_mode):
                continue
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        except OSError:
            continue
        return f"opened {path}"
    return ""


@attempt()
def make_device(scene: Scene) -> str:
    """Make a device file."""
    path = _inside(scene, "device")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.unlink(path)
    return "made one"


# --- to change ----------------------------------------------------------------------------------


@attempt()
def lease_file(scene: Scene) -> str:
    """Hold up whoever opens a file outside the jail."""
    fd = os.open(_inside(scene, "leased"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.fcntl(fd, 1024, fcntl.F_WRLCK)  # F_SETLEASE
    finally:
        os.close(fd)
    return "holds a lease"


@attempt()
def lock_open_file(scene: Scene) -> str:
    """Take locks that no process answers for: memory of the kernel without a bound."""
    fd = os.open(_inside(scene, "locked"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        first = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
        fcntl.fcntl(fd, 37, first)  # F_OFD_SETLK
    finally:
        os.close(fd)
    return "holds one"


@attempt()
def create_outside(scene: Scene) -> str:
    """Create a file outside the workspace."""
    os.close(os.open(os.path.join(scene.secrets, "created"), os.O_CREAT | os.O_WRONLY, 0o600))
    return "created it"


@attempt()
def folder_outside(scene: Scene) -> str:
    """Make a folder, a pipe and a link outside the workspace."""
    made = ""
    for name, make in (
        ("made-folder", os.mkdir),
        ("made-pipe", os.mkfifo),
        ("made-link", lambda path: os.symlink("/", path)),
    ):
        try:
            make(os.path.join(scene.secrets, name))
            made = f"{name} is there"
        except OSError:
            continue
    return made


@attempt()
def write_readable(scene: Scene) -> str:
    """Write where only reading was granted."""
    os.close(os.open(os.path.join(scene.readable, "written"), os.O_CREAT | os.O_WRONLY, 0o600))
    return "wrote it"


@attempt()
def write_library(scene: Scene) -> str:
    """Put a module where every Python of this machine would import it."""
    path = os.path.join(os.path.dirname(os.__file__), f"llmos_probe_{scene.token}.py")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(path)
    return "wrote it"


@attempt()
def truncate_outside(scene: Scene) -> str:
    """Empty a file outside by its path."""
    os.truncate(os.path.join(scene.secrets, "full.txt"), 0)
    return "emptied it"


@attempt()
def chmod_outside(scene: Scene) -> str:
    """Give everybody the right to read a file outside."""
    os.chmod(scene.secret, 0o644)
    return ""  # a jail may say it did without doing so: the outside tells


@attempt()
def chown_outside(scene: Scene) -> str:
    """Change the owner of a file outside, if only to what it is."""
    os.chown(scene.secret, os.getuid(), -1)
    return "changed its owner"


@attempt()
def touch_outside(scene: Scene) -> str:
    """Change the times of a file outside."""
    os.utime(scene.secret, (1, 1))
    return ""  # the same


@attempt()
def attribute_outside(scene: Scene) -> str:
    """Set an extended attribute of a file outside."""
    if not hasattr(os, "setxattr"):
        return ""
    os.setxattr(scene.secret, "user.llmos", b"1")
    return "set it"


@attempt()
def rename_over(scene: Scene) -> str:
    """Put a file of the workspace in the place of one outside."""
    own = _inside(scene, "own")
    Path(own).write_bytes(b"changed")
    os.rename(own, os.path.join(scene.secrets, "own.txt"))
    return "replaced it"


@attempt()
def move_inside(scene: Scene) -> str:
    """Move a file from outside into the workspace."""
    os.rename(os.path.join(scene.other, "moved.txt"), _inside(scene, "moved"))
    return "moved it"


@attempt()
def delete_outside(scene: Scene) -> str:
    """Delete a file outside."""
    os.unlink(os.path.join(scene.secrets, "doomed.txt"))
    return "deleted it"


@attempt()
def setuid_left_behind(scene: Scene) -> str:
    """Leave a program in the workspace that runs with its owner's rights."""
    path = _inside(scene, "setuid")
    Path(path).write_bytes(b"#!/bin/sh\n")
    os.chmod(path, 0o4755)
    return "made one" if os.stat(path).st_mode & stat.S_ISUID else ""
