"""Every request but a look is somebody's doing."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("method", "path", "doing"),
    [
        ("GET", "/kernel/v1/status", 0),
        ("GET", "/kernel/v1/processes", 0),
        ("GET", "/kernel/v1/dream", 0),
        ("GET", "/kernel/v1/memory/search?query=dog", 1),
        ("POST", "/kernel/v1/processes", 1),
        ("POST", "/v1/completions", 1),
    ],
)
async def test_a_look_is_nobody_s_doing_and_anything_else_is(http, kernel, method, path, doing):
    before = kernel.touched
    await http.request(method, path, json={} if method == "POST" else None)
    assert kernel.touched - before == doing
