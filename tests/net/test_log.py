from __future__ import annotations

import json

from llmos.net.log import Entry, RequestLog


def test_a_full_log_is_renamed_and_the_older_one_goes(tmp_path):
    log = RequestLog(tmp_path / "state" / "requests.jsonl", most=2000)
    for number in range(40):
        log.write(Entry(1.0, number, "browse.read", "https://example.org/"))
    files = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert files == ["requests.jsonl", "requests.jsonl.1"]
    last = json.loads((tmp_path / "state" / "requests.jsonl").read_text().splitlines()[-1])
    assert last["pid"] == 39
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "state").iterdir())


def test_an_address_cannot_write_a_line_of_its_own(tmp_path):
    log = RequestLog(tmp_path / "requests.jsonl")
    log.write(Entry(1.0, 1, "browse.read", 'x\n{"pid": 2}\u2028\x1b[31m'))
    raw = (tmp_path / "requests.jsonl").read_bytes()
    assert raw.count(b"\n") == 1 and raw.isascii() and b"\x1b" not in raw


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "requests.jsonl").symlink_to(tmp_path / "elsewhere")
    RequestLog(tmp_path / "requests.jsonl").write(Entry(1.0, 1, "c", "a"))
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert "cannot be written" in caplog.text


def test_what_is_forgotten_leaves_the_log_in_whatever_spelling(tmp_path):
    log = RequestLog(tmp_path / "requests.jsonl", most=400)
    for address in (
        "https://example.org/?q=My+Boat%20is%20Aurora",
        "https://example.org/My%20boat%20is%20aurora",
        "https://example.org/other",
        "https://example.org/?q=my boat is Aurora",
    ):
        log.write(Entry(1.0, 1, "browse.read", address))
    assert (tmp_path / "requests.jsonl.1").exists()
    assert log.forget(["my boat is aurora"]) == 3
    left = b"".join(path.read_bytes() for path in tmp_path.glob("requests.jsonl*"))
    assert b"urora" not in left
    assert b"other" in left
    assert log.forget(["my boat is aurora"]) == 0
    assert RequestLog(tmp_path / "none.jsonl").forget(["anything"]) == 0
