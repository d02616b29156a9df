"""Files are whole or not there, and readable by whom the umask says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rootspace.files import atomic_file, atomic_folder, write_text


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=lambda mask: f"umask {mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_are_those_of_the_umask(umask: int, tmp_path: Path) -> None:
    for _ in range(2):  # new, and in place of what is there
        write_text(tmp_path / "deep" / "text", "one")
        with atomic_folder(tmp_path / "folder") as folder:
            write_text(folder / "inside", "two")
        assert mode(tmp_path / "deep" / "text") == mode(tmp_path / "folder" / "inside") == 0o666 & ~umask
        assert mode(tmp_path / "deep") == mode(tmp_path / "folder") == 0o777 & ~umask
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "folder"]


def test_a_library_that_puts_another_file_in_its_place(umask: int, tmp_path: Path) -> None:
    """safetensors does, with a file that only its owner may read."""
    with atomic_file(tmp_path / "weights") as temporary:
        save_file({"a": torch.zeros(2)}, temporary)
    assert mode(tmp_path / "weights") == 0o666 & ~umask


def test_while_it_is_written_nobody_else_may_do_more_than_later(umask: int, tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file") as temporary:
        assert mode(temporary) == 0o666 & ~umask
    with atomic_folder(tmp_path / "folder") as temporary:
        assert mode(temporary) == 0o777 & ~umask


def half_a_file(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def half_a_folder(path: Path) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "half").touch()
        raise RuntimeError


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "before")
    for write, name in ((half_a_file, "file"), (half_a_folder, "folder")):
        with pytest.raises(RuntimeError):
            write(tmp_path / name)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of that kind")
def test_a_full_disk_names_what_was_to_be_written(tmp_path: Path) -> None:
    """With the errors that safetensors and the system really give."""
    program = f"""
import resource, signal
from pathlib import Path
import torch
from rootspace.files import atomic_folder, save_tensors, write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
here = Path({str(tmp_path)!r})
def in_a_folder():
    with atomic_folder(here / "model") as temporary:
        save_tensors({{"a": torch.zeros(1000)}}, temporary / "weights")
for write in (
    lambda: save_tensors({{"a": torch.zeros(1000)}}, here / "weights"),
    in_a_folder,
    lambda: write_text(here / "text", "a" * 2000),
):
    try:
        write()
    except OSError as error:
        print(error.filename, error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    why = "File too large; make room there, or write to another place"
    assert done.stdout.splitlines() == [f"{tmp_path / name} {why}" for name in ("weights", "model", "text")]
    assert {path.name for path in tmp_path.iterdir()} <= {"weights"}
