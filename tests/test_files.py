"""Files are written whole or not at all: whatever fails and whenever the process ends, and through no link."""

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

from chainrule import files
from killed import kills

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs links, modes and locks of POSIX")


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.write(tmp_path / "a", b"old")
    files.write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    files.write(tmp_path / "a", b"old")

    def fail() -> None:
        with files.replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("there", [True, False])
def test_killed_at_any_call_there_is_the_old_file_or_the_new_one(there: bool, tmp_path: Path) -> None:
    def prepare(folder: Path) -> None:
        if there:
            (folder / "a").write_bytes(b"old")

    found = set()
    for folder in kills(tmp_path, prepare, lambda folder: files.write(folder / "a", b"new")):
        found.add((folder / "a").read_bytes() if (folder / "a").exists() else None)
        assert all(name == "a" or files.is_temporary(name) for name in os.listdir(folder))
    assert found == {b"old" if there else None, b"new"}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        call = getattr(os, name)
        return lambda *given: (calls.append(name), call(*given))[1]

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name))
    files.write(tmp_path / "a", b"new")
    assert calls[:2] == ["fsync", "replace"]


@POSIX
@pytest.mark.parametrize("new", [True, False])
def test_no_link_is_followed(new: bool, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "a").symlink_to(tmp_path / "mine")
    if new:
        with pytest.raises(FileExistsError):
            files.write(tmp_path / "a", b"new", new=True)
    else:
        files.write(tmp_path / "a", b"new")
        assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "mine").read_bytes() == b"mine"


@POSIX
def test_a_link_that_leads_nowhere_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "a", b"new", new=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_new_file_does_not_replace_one_that_came_meanwhile(tmp_path: Path) -> None:

    def late() -> None:
        with files.replacing(tmp_path / "a", new=True) as file:
            file.write(b"ours")
            (tmp_path / "a").write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        late()
    assert (tmp_path / "a").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a"]


@POSIX
def test_modes_are_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "a", b"")
        with files.new_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o750]


def test_a_long_name_is_no_obstacle(tmp_path: Path) -> None:
    files.write(tmp_path / ("a" * 250), b"")


# ---- folders


def test_a_folder_is_there_when_it_is_full(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "a") as beside:
        (beside / "b").write_text("c")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a/b").read_text() == "c"
    with pytest.raises(KeyError), files.new_folder(tmp_path / "d"):
        raise KeyError
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "take",
    [
        lambda a: a.write_text("mine"),
        lambda a: a.mkdir(),
        lambda a: (a / "mine").mkdir(parents=True),
        pytest.param(lambda a: a.symlink_to("nowhere"), marks=POSIX),
    ],
    ids=["file", "empty folder", "full folder", "link"],
)
def test_a_folder_takes_nobodys_place(take: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), files.new_folder(tmp_path / "a"):
        take(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    said: list[object] = []

    def other() -> None:
        try:
            with files.locked(tmp_path):
                said.append("held")
        except BlockingIOError as error:
            said.append(type(error))

    def asked() -> object:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return said.pop()

    with files.locked(tmp_path):
        assert asked() is BlockingIOError
        with files.locked(tmp_path):
            assert asked() is BlockingIOError
        assert asked() is BlockingIOError
    assert asked() == "held"


def test_a_lock_leaves_nothing_behind_and_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    hold = (
        "import sys, time\nfrom chainrule import files\n"
        "with files.locked(sys.argv[1]):\n    print(1, flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path / "a"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(BlockingIOError), files.locked(tmp_path / "a"):
            pass
        other.kill()
    assert len(os.listdir(tmp_path)) == 2
    with files.locked(tmp_path / "a"):
        (lock,) = (name for name in os.listdir(tmp_path) if name != "a")
        assert files.is_lock(lock)
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_may_be_moved_by_who_holds_it_and_is_one_folder_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with files.locked(tmp_path / "a"), files.locked(f"{tmp_path}/a/."):
        (tmp_path / "a").rename(tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]


@POSIX
def test_where_no_lock_can_be_made_a_folder_is_held_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with files.locked(tmp_path / "a"):
        assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_was_moved_before_it_was_locked_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    lock = files._lock

    def late(path: Path) -> Any:
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "a").mkdir()
        return lock(path)

    monkeypatch.setattr(files, "_lock", late)
    with pytest.raises(BlockingIOError), files.locked(tmp_path / "a"):
        pass
