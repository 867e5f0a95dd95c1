"""Pulling from a hub on loopback: resumed, checked, cancelled, and never half there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from llmos import limits, paths
from llmos.errors import ModelCorrupt, ModelError, ModelMissing
from llmos.models import catalog, download, header_process
from llmos.models.catalog import CatalogFile, Entry, HubSource
from llmos.models.download import Progress
from llmos.models.pull import hub_address, parse_reference, pull, remove

Make = Callable[..., bytes]
NAME = "own/repo/Tiny-Q8_0.gguf"
BIG = 3_000_000


@pytest.fixture
def model(hub: Any, make_gguf: Make) -> bytes:
    """A model of 3 MB on the hub, so that it comes in several blocks."""
    raw = make_gguf(tensors=[("t", [BIG // 4], 0, 0)], data=os.urandom(BIG))
    hub.files[NAME] = raw
    return raw


@pytest.fixture
def entry(hub: Any, model: bytes, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The same model as a catalog entry with a pinned checksum."""
    hub.files["own/repo/tiny.gguf"] = model
    file = CatalogFile(
        "tiny.gguf",
        len(model),
        hashlib.sha256(model).hexdigest(),
        (HubSource("own/repo", "tiny.gguf"),),
    )
    entry = Entry("tiny", "Tiny", "chat", "T.", BIG // 4, "MIT", "F32", (file,))
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    return entry


def _gets(hub: Any) -> list[tuple[str, str, str]]:
    return [request for request in hub.requests if request[0] == "GET"]


def _part(name: str = "tiny-q8_0", file: str = "Tiny-Q8_0.gguf") -> Path:
    return paths.models_dir() / name / f".{file}.part"


def test_a_model_is_pulled_recorded_and_found_again(hub: Any, model: bytes) -> None:
    seen: list[Progress] = []
    pulled = pull(NAME, on_progress=seen.append)
    assert pulled.name == "tiny-q8_0"
    assert pulled.path.read_bytes() == model
    record = json.loads((pulled.path.parent / catalog.RECORD).read_text())
    noted = record["files"]["Tiny-Q8_0.gguf"]
    assert noted["sha256"] == hashlib.sha256(model).hexdigest()
    assert noted["revision"] == hub.commit
    assert catalog.find("tiny-q8_0").path == pulled.path
    assert seen[-1].done == seen[-1].total == len(model)
    assert sorted(path.name for path in pulled.path.parent.iterdir()) == [
        ".lock", "Tiny-Q8_0.gguf", catalog.RECORD,
    ]  # fmt: skip


def test_the_download_is_of_the_commit_the_hub_named(hub: Any, model: bytes) -> None:
    pull(NAME)
    assert _gets(hub)[0][1] == f"/own/repo/resolve/{hub.commit}/Tiny-Q8_0.gguf"


def test_a_second_pull_downloads_nothing(hub: Any, model: bytes) -> None:
    pull(NAME)
    hub.requests.clear()
    assert pull(NAME).path.read_bytes() == model
    assert hub.requests == []


def test_a_damaged_file_is_pulled_anew(hub: Any, model: bytes) -> None:
    path = pull(NAME).path
    path.write_bytes(model[:-1] + b"\xff")
    os.utime(path, ns=(1, 1))
    assert pull(NAME).path.read_bytes() == model


def test_a_catalog_entry_is_pulled_by_its_name(hub: Any, entry: Entry, model: bytes) -> None:
    assert pull("Tiny").path.read_bytes() == model
    assert catalog.find("tiny").origin == "pulled"


def test_a_web_address_on_the_hub_means_the_same(hub: Any, model: bytes) -> None:
    for verb in ("resolve", "blob"):
        assert pull(f"{hub.address}/own/repo/{verb}/main/Tiny-Q8_0.gguf").name == "tiny-q8_0"


def test_a_renamed_repository_is_followed(hub: Any, model: bytes) -> None:
    hub.renamed = {"old/name": "own/repo"}
    assert pull("old/name/Tiny-Q8_0.gguf").path.read_bytes() == model


def test_storage_behind_the_hub_is_followed_without_the_token(
    hub: Any, storage: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    storage.files[NAME] = model
    hub.storage = storage.address
    storage.cut = [1_000_000]
    assert pull(NAME).path.read_bytes() == model
    assert [request[2] for request in _gets(storage)] == ["", "bytes=1000000-"]
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert set(storage.tokens) == {""}


# --- broken connections -----------------------------------------------------------------------


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Any, model: bytes) -> None:
    hub.cut = [1_000_000, 500_000]
    assert pull(NAME).path.read_bytes() == model
    assert [request[2] for request in _gets(hub)] == ["", "bytes=1000000-", "bytes=1500000-"]


def test_a_server_that_ignores_range_sends_all_again(hub: Any, model: bytes) -> None:
    hub.cut = [1_000_000]
    hub.ranges = False
    assert pull(NAME).path.read_bytes() == model
    assert len(_gets(hub)) == 2


def test_a_file_that_changed_meanwhile_is_started_anew(hub: Any, model: bytes) -> None:
    hub.stated[NAME] = ""
    hub.cut = [1_000_000] * 20
    hub.etag = '"one"'
    hub.files[NAME] = model
    hub.cut = [1_000_000] + [0] * limits.PULL_TRIES
    with pytest.raises(ModelError, match="keeps breaking"):
        pull(NAME)
    assert _part().stat().st_size == 1_000_000
    changed = model[:-8] + b"changed!"
    hub.files[NAME], hub.etag, hub.cut = changed, '"two"', []
    assert pull(NAME).path.read_bytes() == changed


def test_a_later_pull_goes_on_where_an_earlier_one_gave_up(hub: Any, model: bytes) -> None:
    hub.cut = [1_000_000] + [0] * limits.PULL_TRIES
    with pytest.raises(ModelError, match="keeps breaking.*go on where it stopped"):
        pull(NAME)
    hub.requests.clear()
    hub.cut = []
    assert pull(NAME).path.read_bytes() == model
    assert [request[2] for request in _gets(hub)] == ["bytes=1000000-"]


def test_a_part_that_was_damaged_on_disk_is_noticed(hub: Any, model: bytes) -> None:
    hub.cut = [1_000_000] + [0] * limits.PULL_TRIES
    with pytest.raises(ModelError):
        pull(NAME)
    raw = bytearray(_part().read_bytes())
    raw[500_000] ^= 1
    _part().write_bytes(raw)
    hub.cut = []
    with pytest.raises(ModelCorrupt, match="not the file expected"):
        pull(NAME)
    assert not _part().exists()
    assert pull(NAME).path.read_bytes() == model


def test_a_file_whose_header_could_only_not_be_read_is_kept(
    hub: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ModelError("The process that reads its header failed.")

    with monkeypatch.context() as patch:
        patch.setattr(header_process, "read", fail)
        with pytest.raises(ModelError, match="reads its header failed"):
            pull(NAME)
    assert _part().read_bytes() == model
    assert pull(NAME).path.read_bytes() == model


def test_a_part_longer_than_the_file_is_started_anew(hub: Any, model: bytes) -> None:
    hub.cut = [1_000_000] + [0] * limits.PULL_TRIES
    with pytest.raises(ModelError):
        pull(NAME)
    with _part().open("ab") as part:
        part.write(b"x" * BIG)
    hub.cut = []
    assert pull(NAME).path.read_bytes() == model


def test_a_busy_server_is_asked_again(hub: Any, model: bytes) -> None:
    hub.fail = [503, 429]
    assert pull(NAME).path.read_bytes() == model


def test_a_refusing_server_is_not_asked_again(hub: Any, model: bytes) -> None:
    hub.fail = [403]
    with pytest.raises(ModelError, match="answered 403"):
        pull(NAME)
    assert len(_gets(hub)) == 1


def test_a_hub_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"The hub http://127.0.0.1:9 cannot be reached"):
        pull(NAME)


# --- wrong content ----------------------------------------------------------------------------


def test_a_wrong_checksum_leaves_nothing_behind(hub: Any, model: bytes) -> None:
    hub.stated[NAME] = "0" * 64
    with pytest.raises(ModelCorrupt, match="not the file expected"):
        pull(NAME)
    assert not _part().exists() and not _part().with_name("Tiny-Q8_0.gguf").exists()


def test_the_hub_may_not_offer_another_file_than_the_catalog_pins(hub: Any, entry: Entry) -> None:
    hub.files["own/repo/tiny.gguf"] += b"\0"
    with pytest.raises(ModelCorrupt, match="another file than the catalog means"):
        pull("tiny")
    assert _gets(hub) == []


def test_a_pinned_file_is_checked_even_where_the_hub_states_nothing(
    hub: Any, entry: Entry, model: bytes
) -> None:
    hub.stated["own/repo/tiny.gguf"] = ""
    hub.files["own/repo/tiny.gguf"] = model[:-1] + b"\1" if model[-1] != 1 else model[:-1] + b"\2"
    with pytest.raises(ModelCorrupt, match="not the file expected"):
        pull("tiny")


def test_a_file_that_is_no_gguf_is_not_kept(hub: Any) -> None:
    hub.files[NAME] = b"<html>sign in</html>"
    with pytest.raises(ModelCorrupt, match="does not start like"):
        pull(NAME)
    assert not _part().exists() and not _part().with_name("Tiny-Q8_0.gguf").exists()


# --- no file, no login, no room ---------------------------------------------------------------


def test_what_the_hub_does_not_have_is_told(hub: Any) -> None:
    with pytest.raises(ModelError, match=r"has no file own/repo/Tiny-Q8_0.gguf \(404\)"):
        pull(NAME)


def test_a_gated_model_says_what_to_do(hub: Any, model: bytes) -> None:
    hub.head_status = 401
    with pytest.raises(ModelError, match="Accept its licence .* HF_TOKEN"):
        pull(NAME)


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    hub: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "free_bytes", lambda _: limits.PULL_SPARE_BYTES + 1_000_000)
    with pytest.raises(ModelError, match="no room.* 3 MB more, and 1 MB"):
        pull(NAME)
    assert _gets(hub) == []


def test_a_disk_that_fills_up_during_a_pull_is_told(
    hub: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    class Full:
        def __init__(self, file: IO[bytes]) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def opened(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real_open(self, mode, *args, **kwargs)
        return Full(file) if mode == "ab" else file

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(ModelError, match="There is no room for"):
        pull(NAME)
    monkeypatch.undo()


def test_a_cancel_stops_and_keeps_what_came(hub: Any, model: bytes) -> None:
    cancel = threading.Event()
    hub.cut = [2_000_000]
    hub.hold = threading.Event()
    failures: list[ModelError] = []

    def run() -> None:
        try:
            pull(NAME, on_progress=watch, cancel=cancel)
        except ModelError as error:
            failures.append(error)

    def watch(progress: Progress) -> None:
        if progress.done >= 1_000_000:
            cancel.set()
            hub.hold.set()

    thread = threading.Thread(target=run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PULL_PROGRESS_S", 0.0)
        thread.start()
        thread.join(30)
    assert not thread.is_alive()
    assert "was stopped" in str(failures[0]) and "go on" in str(failures[0])
    assert _part().stat().st_size >= 1_000_000
    hub.hold = None
    assert pull(NAME).path.read_bytes() == model


def test_two_pulls_of_one_model_do_not_mix(hub: Any, model: bytes) -> None:
    hub.hold = threading.Event()
    first = threading.Thread(target=pull, args=(NAME,))
    first.start()
    assert hub.sent.wait(20)
    with pytest.raises(ModelError, match="being pulled by another program"):
        pull(NAME)
    hub.hold.set()
    first.join(20)
    assert catalog.find("tiny-q8_0").path.read_bytes() == model


# --- what a person may write ------------------------------------------------------------------


def test_a_split_model_is_pulled_whole(hub: Any, make_gguf: Make) -> None:
    for number in (1, 2):
        hub.files[f"own/repo/sub/big-{number:05}-of-00002.gguf"] = make_gguf({"n": number})
    pulled = pull("own/repo/sub/big-00001-of-00002.gguf")
    assert pulled.name == "big"
    assert len(pulled.files) == 2 and all(path.is_file() for path in pulled.files.values())


@pytest.mark.parametrize(
    "text",
    [
        "qwen",
        "a/b",
        "a/b/../../etc/passwd.gguf",
        "a/b/.hidden.gguf",
        "a//c.gguf",
        "",
        "a/b/c d.gguf",
    ],
)
def test_what_is_neither_name_nor_address_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="There is no model called"):
        parse_reference(text)


def test_other_hosts_and_other_files_are_refused() -> None:
    with pytest.raises(ModelError, match="not on the hub"):
        parse_reference("https://example.org/a/b/resolve/main/c.gguf")
    with pytest.raises(ModelError, match="not a GGUF file"):
        parse_reference("a/b/model.safetensors")


def test_a_reference_to_a_catalog_file_is_that_entry() -> None:
    assert parse_reference("Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf").name == "qwen3-4b"


def test_a_name_the_catalog_has_is_not_taken_by_another_file() -> None:
    assert parse_reference("mallory/x/starter.gguf").name == "mallory-starter"


def test_the_setting_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror/")
    assert hub_address() == "https://mirror"
    assert hub_address("https://own") == "https://own"
    monkeypatch.delenv("HF_ENDPOINT")
    assert hub_address().startswith("https://")


# --- removing ---------------------------------------------------------------------------------


def test_a_pulled_model_can_be_removed(hub: Any, model: bytes) -> None:
    folder = pull(NAME).path.parent
    assert remove("tiny-q8_0") >= len(model)
    assert not folder.exists()
    with pytest.raises(ModelMissing):
        remove("tiny-q8_0")


def test_an_own_file_can_be_removed(make_gguf: Make) -> None:
    paths.models_dir().mkdir(parents=True)
    names = ["Mine.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf"]
    for name in names:
        (paths.models_dir() / name).write_bytes(make_gguf())
    remove("mine")
    remove("big-00001-of-00002")
    assert list(paths.models_dir().iterdir()) == []


def test_a_model_of_a_package_is_not_removed(starter_weights: Path) -> None:
    with pytest.raises(ModelError, match="installed package"):
        remove("starter")
    assert starter_weights.exists()


@pytest.mark.parametrize("name", ["..", "../state", "/", "", "."])
def test_nothing_outside_the_models_directory_is_removed(name: str, home: Path) -> None:
    paths.models_dir().mkdir(parents=True)
    (home / "state").mkdir()
    with pytest.raises(ModelMissing):
        remove(name)
    assert (home / "state").is_dir() and paths.models_dir().is_dir()
