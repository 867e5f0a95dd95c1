"""What an expert knows: found in an index of its own, and named by its place."""

from __future__ import annotations

from pathlib import Path

from llmos import paths
from llmos.experts import install
from llmos.experts.knowledge import Library, forget, passages
from llmos.memory.embed_onnx import MiniLM
from llmos.memory.passages import Passage
from tests.experts.conftest import plain


def indexes() -> list[str]:
    return sorted(path.name for path in (paths.state_dir() / "experts").iterdir())


async def test_knowledge_is_found_and_says_where_it_stands(write, experts):
    write()
    expert = (await experts()).get("ornithologist")
    library = Library(None)
    try:
        hits = await library.search(expert, "What colour are the legs of a herring gull?")
        assert "pink legs" in hits[0].passage.text
        assert hits[0].passage.place.startswith("ornithologist: knowledge/gulls.md, ")
        assert hits[0].passage.id == "k:ornithologist:1.1"
        assert await library.search(expert, "xylophone") == []
    finally:
        await library.close()


async def test_knowledge_is_found_by_its_meaning(
    write, experts, embedder_weights: Path, embedder_tokenizer: Path
):
    write()
    expert = (await experts()).get("ornithologist")
    library = Library(MiniLM(embedder_weights, embedder_tokenizer))
    try:
        await (await library.open(expert)).settled()
        hits = await library.search(expert, "catching prey by plunging below")
        assert "dive for fish" in hits[0].passage.text
        assert hits[0].words == 0  # not one of these words stands there
    finally:
        await library.close()


async def test_each_expert_searches_its_own_knowledge_only(write, experts):
    write(name="gulls")
    other = write(name="fishes")
    (other / "knowledge" / "gulls.md").write_text("Pike have teeth.")
    loaded = await experts()
    library = Library(None)
    try:
        assert await library.search(loaded.get("gulls"), "pike teeth") == []
        (hit,) = await library.search(loaded.get("fishes"), "pike teeth")
        assert hit.passage.id.startswith("k:fishes:")
        assert await library.search(loaded.get("fishes"), "herring gull") == []
    finally:
        await library.close()


async def test_another_version_is_indexed_anew_and_the_old_one_goes(write, experts):
    folder = write()
    library = Library(None)
    try:
        assert await library.search((await experts()).get("ornithologist"), "herring gull")
        (before,) = indexes()
        (folder / "knowledge" / "gulls.md").write_text("Skuas steal.")
        expert = (await experts()).get("ornithologist")
        assert not await library.search(expert, "herring gull")
        assert await library.search(expert, "skuas")
        (after,) = indexes()
        assert before != after
    finally:
        await library.close()


async def test_what_was_indexed_is_there_after_a_restart_and_is_not_read_again(write, experts):
    folder = write()
    expert = (await experts()).get("ornithologist")
    library = Library(None)
    await library.search(expert, "gull")
    await library.close()
    (folder / "knowledge" / "gulls.md").unlink()
    library = Library(None)
    try:
        assert await library.search(expert, "herring gull")
    finally:
        await library.close()


async def test_a_removed_expert_leaves_no_word_of_its_knowledge(write, experts, tmp_path):
    install.stage(write()).commit()
    expert = (await experts(tmp_path / "none")).get("ornithologist")
    library = Library(None)
    assert await library.search(expert, "herring gull")
    await library.close()
    install.remove("ornithologist")
    left = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    sources = tmp_path / "sources"
    assert not [p for p in left if sources not in p.parents and b"pink legs" in p.read_bytes()]
    forget("ornithologist")  # again, and nothing happens


async def test_a_file_that_cannot_be_read_is_named_and_the_others_are_there(write, experts):
    folder = write(plugin=('"knowledge/*.md"', '"knowledge/*"'))
    (folder / "knowledge" / "a.bin.txt").write_bytes(b"\x00\x01\x02\x03" * 100)
    (folder / "knowledge" / "b.pdf").write_bytes(b"no pdf at all")
    expert = (await experts()).get("ornithologist")
    found = [each async for each in passages(expert)]
    told = [each for each in found if isinstance(each, str)]
    assert [line.partition(":")[0] for line in told] == ["ornithologist"] * 2
    assert "binary" in told[0]
    assert "no PDF" in told[1]
    assert [each for each in found if isinstance(each, Passage)]
    library = Library(None)
    try:
        assert await library.search(expert, "gull")
        assert library.skipped["ornithologist"] == told
    finally:
        await library.close()


async def test_an_expert_that_knows_nothing_finds_nothing(write, experts):
    write(plain("    return ''"), plugin=('["knowledge/*.md"]', "[]"))
    library = Library(None)
    expert = (await experts()).get("ornithologist")
    assert await library.search(expert, "gull") == []
    await library.close()
