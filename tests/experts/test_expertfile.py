"""``plugin.toml``: what is understood, and the one sentence for what is not."""

from __future__ import annotations

import pytest

from llmos.errors import ExpertError
from llmos.experts import expertfile
from llmos.experts.permissions import Permissions


def test_a_whole_manifest_is_read(write):
    about = expertfile.read(
        write(
            permissions='web = ["Birds.Example", "*.gull.example"]\nsearch = true\n'
            'folders = "read"\nclipboard = "write"\nmemory_mb = 64'
        )
    )
    assert about.prompt == "You know birds."
    assert about.calls == ("clock", "calculator.evaluate")
    assert [tool.about.name for tool in about.tools] == ["bird"]
    assert about.permissions == Permissions(
        web=("birds.example", "*.gull.example"),
        search=True,
        folders="read",
        clipboard="write",
        memory_mb=64,
    )


def test_a_prompt_may_be_a_file(write):
    folder = write(plugin=('"You know birds."', '{ file = "prompt.md" }'))
    with pytest.raises(ExpertError, match="The prompt prompt.md is not there"):
        expertfile.read(folder)
    (folder / "prompt.md").write_text("You know all birds.\n")
    assert expertfile.read(folder).prompt == "You know all birds."
    (folder / "prompt.md").write_bytes(b"\xff\xff")
    with pytest.raises(ExpertError, match="no UTF-8"):
        expertfile.read(folder)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("format = 1\n", "", "must begin with “format = 1”"),
        ("format = 1\n", "format = true\n", "must begin with “format = 1”"),
        ("format = 1\n", "format = 2\nmagic = 1\n", "written in format 2 .* Update llmos"),
        ("format = 1\n", "format = 1\nmagic = 1\n", "unknown key 'magic'"),
        ("format = 1\n", "format = 1\nmcp = {}\n", "uses “mcp”, which this version .* yet"),
        ("format = 1\n", "format = 1\nsignature = 'x'\n", "uses “signature”"),
        ("format = 1\n", "format = 1\nrequires = {llmos = '99'}\n", "needs llmos 99; this one"),
        ("format = 1\n", "format = 1\nrequires = {llmos = 'x'}\n", "must be a version such as"),
        ("format = 1\n", "format = 1\nrequires = {moon = '1'}\n", "unknown key 'moon'"),
        ("format = 1\n", "format =\n", "plugin.toml cannot be read"),
        ("format = 1\n", f"format = {'9' * 5000}\n", "plugin.toml cannot be read"),
        ("format = 1\n", f"format = {'[' * 5000}\n", "plugin.toml cannot be read"),
        ('"ornithologist"', '"Bird"', "must be 2 to 32 long"),
        ('"ornithologist"', '"a--b"', "single hyphens"),
        ('"ornithologist"', '"../x"', "must be 2 to 32 long"),
        ('"ornithologist"', "3", "“name” of plugin.toml must be text"),
        ('version = "1.0.0"', 'version = "new"', "version 'new' is none"),
        ('licence = "Apache-2.0"', "", "lacks “licence”"),
        ('"Apache-2.0"', '"Apache. It may do nothing!"', "must be a short name"),
        ('"Looks after birds."', '"  "', "“summary” of plugin.toml is empty"),
        ('"Looks after birds."', f'"{"x" * 301}"', "at most 300 characters"),
        ('"You know birds."', '""', "“prompt” of plugin.toml must be text"),
        ('"You know birds."', f'"{"x" * 17_000}"', "longer than 16,000 characters"),
        ('"You know birds."', '{ file = "../x" }', "leads out of the expert's folder"),
        ('"You know birds."', '{ file = "/etc/passwd" }', "leads out of the expert's folder"),
        ('["Which bird is that?"]', '"x"', "“starters” of plugin.toml must be a list"),
        ('["Which bird is that?"]', "[3]", "“starters” of plugin.toml must be text"),
        ('["knowledge/*.md"]', '["*.pdf"]', "no file is like that"),
        ('["knowledge/*.md"]', '["../*"]', "leads out of the expert's folder"),
        ('["knowledge/*.md"]', '["/etc/*"]', "leads out of the expert's folder"),
        ('["tools/bird"]', '["tools/fish"]', "The tool tools/fish: fish has no tool.toml"),
        ('["tools/bird"]', '["tools/bird", "tools/bird"]', "names the tool bird twice"),
        ('["clock", "calculator.evaluate"]', '["a b"]', "no name of a call"),
        ("[permissions]", "[permissions]\nroot = true", "unknown key 'root'"),
        ("[permissions]", "[permissions]\npython = 1", "must be true or false"),
        ("[permissions]", '[permissions]\nfolders = "all"', "must be “read” or “write”"),
        ("[permissions]", "[permissions]\nmemory_mb = 1", "must be 64 to 4096"),
        ("[permissions]", '[permissions]\nweb = ["127.0.0.1"]', "is no site"),
        ("[permissions]", '[permissions]\nweb = ["localhost"]', "is no site"),
        ("[permissions]", '[permissions]\nweb = ["https://a.example"]', "is no site"),
        ("[permissions]", '[permissions]\nweb = ["*.com.*"]', "is no site"),
        ("[permissions]", '[permissions]\nweb = ["bücher.example"]', "is no site"),
    ],
)
def test_what_is_wrong_is_one_sentence(write, old, new, sentence):
    with pytest.raises(ExpertError, match=sentence) as caught:
        expertfile.read(write(plugin=(old, new)))
    assert "\n" not in caught.value.sentence


def test_a_tool_may_use_only_what_is_declared(write):
    with pytest.raises(ExpertError, match=r"uses “web”, which \[permissions\] does not declare"):
        expertfile.read(write(uses='"web"', permissions='folders = "write"'))


def test_links_do_not_lead_out(write, tmp_path):
    (tmp_path / "secret.md").write_text("x")
    folder = write()
    (folder / "knowledge" / "secret.md").symlink_to(tmp_path / "secret.md")
    with pytest.raises(ExpertError, match="leads out"):
        expertfile.read(folder)
    (folder / "knowledge" / "secret.md").unlink()
    (folder / "plugin.toml").rename(tmp_path / "plugin.toml")
    (folder / "plugin.toml").symlink_to(tmp_path / "plugin.toml")
    with pytest.raises(ExpertError, match="must begin with"):
        expertfile.read(folder)


def test_a_folder_without_a_manifest_is_no_expert(tmp_path):
    with pytest.raises(ExpertError, match="no expert"):
        expertfile.read(tmp_path)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("https://birds.example/a?b=c", True),
        ("http://BIRDS.example:8080/", True),
        ("https://birds.example./", True),
        ("https://a.gull.example/", True),
        ("https://a.b.gull.example/", True),
        ("https://gull.example/", False),
        ("https://notgull.example/", False),
        ("https://other.example/", False),
        ("ftp://birds.example/", False),
        ("https://birds.example@other.example/", False),
        ("https://other.example\\.birds.example/", False),
        ("https://birds.example\n.other.example/", False),
        ("https://birds.example%2eother.example/", False),
        ("https://[::1]/", False),
        ("https://[birds.example/", False),
        ("https:///birds.example/", False),
        ("birds.example", True),  # as it would be fetched
        ("BIRDS。example/ü", True),
        ("mailto:a@birds.example", False),
        ("https://xn--zzzz-.birds.example/", False),
    ],
)
def test_an_address_stands_on_a_declared_site_or_not(address, may):
    assert Permissions(web=("birds.example", "*.gull.example")).reaches(address) is may


@pytest.mark.parametrize(
    "address", ["https://0x7f.1/", "https://127.1/", "https://birds.example:0/", "ftp://b.example/"]
)
def test_any_site_is_none_that_would_not_be_fetched(address):
    assert not Permissions(web=("*",)).reaches(address)
