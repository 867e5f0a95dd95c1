"""The same jails for somebody who is not the superuser, where these tests are run by that one.

A copy of what is needed is run by the system's own interpreter, since an ordinary user may not
see the checkout, nor the interpreter that runs the tests.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SYSTEM = Path("/usr/bin/python3")
NOBODY = 65534
NEEDED = ("llmos", "psutil", "platformdirs")

TRY = """
import asyncio, json, os, sys
from pathlib import Path
from llmos.sandbox import probes
from llmos.sandbox.bubblewrap import Bubblewrap
from llmos.sandbox.jail import Bounds, Task, run
from llmos.sandbox.landlock import Landlock

BOMB = '''
import os, signal
made = 0
try:
    while made < 200:
        if os.fork() == 0: signal.pause()
        made += 1
        print(made, flush=True)
except OSError: pass
'''
NAMELESS = '''
import os, signal
files = []
for i in range(200):
    files.append(open(str(i), 'wb')); os.unlink(str(i))
    files[-1].write(b'x' * (2 << 20)); files[-1].flush()
signal.pause()
'''

async def main():
    told = {}
    for jail in Bubblewrap(), Landlock(), Landlock(5):
        names = [n for n in probes.QUICK]
        out = [p.name for p in await probes.probe(jail, names) if not p.held]
        space = Path('space-' + str(len(told))).absolute(); space.mkdir()
        bounds = Bounds(processes=20, disk_bytes=20 << 20)
        ends = []
        for code in BOMB, NAMELESS:
            task = Task((sys.executable, '-I', '-S', '-c', code), workspace=space, bounds=bounds)
            ends.append(await run(jail, task, seconds=120, output_bytes=100000))
        made = int(ends[0].stdout.split()[-1])
        told[jail.name + str(len(told))] = [len(names), out, made, ends[0].ended, ends[1].ended]
    print(json.dumps(told))

asyncio.run(main())
"""


def _too_old() -> bool:
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([SYSTEM, "-I", "-c", code], check=False).returncode != 0


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can enter, with what is needed in it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="llmos-") as name:
        folder = Path(name)
        for package in NEEDED:
            spec = importlib.util.find_spec(package)
            assert spec is not None and spec.submodule_search_locations
            source = Path(next(iter(spec.submodule_search_locations)))
            skipped = shutil.ignore_patterns("__pycache__", "tests")
            shutil.copytree(source, folder / package, ignore=skipped)
        (folder / "own").mkdir()
        shutil.chown(folder / "own", NOBODY, NOBODY)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield folder


@pytest.mark.skipif(sys.platform != "linux", reason="These tiers are Linux's.")
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="All tests ran as one.")
async def test_the_jails_of_an_ordinary_user_hold_as_well(place: Path):
    if not SYSTEM.exists() or _too_old():
        pytest.skip("There is no /usr/bin/python3 of 3.11 or later that an ordinary user could run")
    process = await asyncio.create_subprocess_exec(
        *(SYSTEM, "-c", TRY),
        stdout=asyncio.subprocess.PIPE,
        cwd=place / "own",
        env={"PYTHONPATH": str(place), "PATH": os.environ["PATH"], "HOME": str(place / "own")},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    told, _ = await process.communicate()
    assert process.returncode == 0
    results = json.loads(told)
    assert list(results) == ["bubblewrap0", "landlock1", "landlock2"]
    for tried, out, children, bound, disk in results.values():
        assert tried >= 50
        assert out == []
        # Refused by the limit, or, where others of this user ended meanwhile, seen by the watch.
        assert bound in ("", "processes")
        assert 15 <= children <= 20 or bound == "processes"
        assert disk == "disk"
