"""Machine code on disk: found by the next process, and never older than what it was made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gapkit._core.jit as policy
from gapkit._core.rows import edge_forces

HELPER = "from tiny.jit import jit\n\n@jit\ndef helper(x):\n    return 2 * x\n"
KERNEL = "from tiny.jit import jit\nfrom tiny.helper import helper\n\n@jit\ndef kernel(x):\n    return helper(x) + 1\n"
USE = (
    "import sys; from tiny.kernel import kernel; x = eval(sys.argv[1]); "
    "print(kernel(x), len(kernel.stats.cache_hits), len(kernel.stats.cache_misses), kernel.stats.cache_path)"
)


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    shutil.copy(policy.__file__, folder / "jit.py")
    for name, text in {"__init__": "", "helper": HELPER, "kernel": KERNEL}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def start(package, x="3", **variables):
    # Python's own cache of bytecode would miss an edit that keeps size and time.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    paths = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": paths, **variables}
    return subprocess.Popen(
        [sys.executable, "-c", USE, x],
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, warning=""):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert warning in err if warning else not err
    value, hits, misses, folder = out.split(maxsplit=3)
    return value, int(hits), int(misses), Path(folder.strip())


def use(package, x="3", **variables):
    return finish(start(package, x, **variables))


def edit(path, old, new):
    """Change a file and nothing of what its directory entry says."""
    before, text = path.stat(), path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_machine_code_follows_all_sources_and_settings(package):
    first = use(package)
    assert first[:3] == ("7", 0, 1)
    assert first[3].parent == package / "__pycache__"
    assert use(package) == ("7", 1, 0, first[3])
    edit(package / "helper.py", "2 * x", "4 * x")
    assert use(package)[:3] == ("13", 0, 1)
    edit(package / "jit.py", '"nsz"}', '"arcp"}')
    assert use(package)[:3] == ("13", 0, 1)
    assert use(package, NUMBA_BOUNDSCHECK="1")[:3] == ("13", 0, 1)
    edit(package / "jit.py", '"arcp"}', '"nsz"}')
    edit(package / "helper.py", "4 * x", "2 * x")
    assert use(package) == ("7", 1, 0, first[3])


def test_the_cache_goes_where_it_can_and_where_it_is_told(package, tmp_path):
    (package / "__pycache__").touch()  # a folder that cannot be written, also for root
    home = tmp_path / "home"
    assert home in use(package, HOME=str(home), XDG_CACHE_HOME=str(home))[3].parents
    chosen = tmp_path / "chosen"
    for hits in (0, 1):
        result = use(package, NUMBA_CACHE_DIR=str(chosen))
        assert result[:3] == ("7", hits, 1 - hits)
        assert chosen in result[3].parents


def test_without_a_folder_kernels_work_and_a_warning_says_so(package, tmp_path):
    nowhere = tmp_path / "file"
    for path in (package / "__pycache__", nowhere):
        path.touch()
    process = start(package, HOME=str(nowhere), XDG_CACHE_HOME=str(nowhere))
    assert finish(process, "NumbaWarning: machine code is not kept on disk")[0] == "7"


def test_several_processes_at_once(package):
    """Two signatures compiled at the same time are not mistaken for each other later."""
    values = {"3": "7", "3.0": "7.0"}
    for process, value in [(start(package, x), value) for x, value in values.items()]:
        assert finish(process)[0] == value
    for x, value in values.items():
        assert use(package, x)[0] == value


def test_data_files_of_two_processes_never_share_a_name():
    names = {policy._Cache(edge_forces.py_func)._cache_file._data_name(1) for _ in range(2)}
    assert len(names) == 2


def test_former_folders_do_not_pile_up(tmp_path):
    for age in range(10):
        folder = tmp_path / f"gapkit-{age}"
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    (tmp_path / "edges.cpython-311.pyc").touch()
    policy._remove_former(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"gapkit-{age}" for age in range(policy.FORMER + 1)} | {"edges.cpython-311.pyc"}
