from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos import paths
from llmos.errors import HostError
from llmos.host.folders import Folders
from llmos.host.guarded import why_not
from llmos.host.places import Grant, Places
from llmos.host.rename import exchange
from llmos.host.undo import Log
from llmos.sdk import ToolError

PARTS = st.sampled_from(["..", ".", "~", "a", "link", "", "sub", ".ssh", "etc", "\0", "\n", "A"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("person").resolve()
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("/etc")
    return folder


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, max_size=6), st.booleans(), st.booleans())
def test_whatever_is_asked_for_lies_within_the_grant_or_is_refused(folder, parts, inside, write):
    places = Places(lambda: [Grant(folder, write=True)], ())
    text = "/".join(parts)
    with contextlib.suppress(HostError):
        found = places.find(f"{folder}/{text}" if inside else text, write=write)
        assert found.is_relative_to(folder)
        assert ".." not in found.parts
        assert not why_not(found.relative_to(folder).parts)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_breaks_the_reading_of_paths(text):
    places = Places(lambda: [Grant(Path("/nowhere/at/all"))], ())
    with contextlib.suppress(HostError):
        assert places.find(text).is_relative_to("/nowhere/at/all")


async def test_a_folder_that_keeps_turning_into_a_link_never_leads_outside(tmp_path_factory, home):
    folder = tmp_path_factory.mktemp("person").resolve()
    outside = tmp_path_factory.mktemp("outside").resolve()
    (outside / "a.txt").write_text("secret")
    (folder / "door").mkdir()
    (folder / "door" / "a.txt").write_text("mine")
    (folder / "link").symlink_to(outside)
    folders = Folders(lambda: [Grant.of(folder, write=True)], Log(paths.state_dir() / "undo"))
    over = threading.Event()

    def turn() -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        while not over.is_set():
            assert exchange(handle, "door", "link")
        os.close(handle)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        for number in range(200):
            with contextlib.suppress(ToolError):
                assert await folders.read("door/a.txt") == "mine"
            with contextlib.suppress(ToolError):
                for found in await folders.search("secret"):
                    raise AssertionError(found)
            with contextlib.suppress(ToolError):
                await folders.write("door/new.txt", f"{number}")
    finally:
        over.set()
        thread.join()
    assert os.listdir(outside) == ["a.txt"]
    assert (outside / "a.txt").read_text() == "secret"


@pytest.mark.parametrize(
    "name",
    [".ssh", "id_ed25519", "server.key", "Secrets.YAML", "prod.env", "Login Data", "x.kdbx"],
)
def test_secrets_are_known_by_their_names(name):
    assert why_not((name,))
    assert why_not(("sub", name, "x"))


@pytest.mark.parametrize("name", ["notes.txt", "monkey.txt", "environment.md", "keynote.pdf"])
def test_ordinary_names_are_no_secrets(name):
    assert not why_not((name,))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("/srv/no such/x.txt", "llmos grants folder '/srv/no such'"),
        ("/usr/bin/env", "llmos grants folder /usr/bin "),
        ("~/Letters of mine/x.txt", "llmos grants folder ~/'Letters of mine'"),
        ("/x.txt", "llmos grants folder ~/Documents"),
        ("/", "llmos grants folder ~/Documents"),
    ],
)
def test_what_is_not_granted_is_refused_with_the_command_for_its_folder(folder, text, remedy):
    with pytest.raises(HostError) as refused:
        Places(lambda: [Grant(folder)], ()).find(text)
    assert remedy in refused.value.remedy
