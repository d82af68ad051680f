import os
import threading
import time
import warnings
from errno import ENOSPC
from pathlib import Path

import jax
import numpy as np
import pytest

import chainrule as cr
from chainrule.backends import cache
from chainrule.backends.xla import kept
from chainrule.backends.xla.compiler import Program
from chainrule.backends.xla.kept import keeping
from small import QUIET, classifier, same, table

X = np.arange(6.0, dtype=np.float32)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache folder, for programs that are as quick to compile as those here."""
    monkeypatch.setenv(cache.SWITCH, str(tmp_path / "kept"))
    monkeypatch.setattr(kept, "LEAST", 0.0)
    return tmp_path / "kept"


def polynomial(power=3):
    """A program that JAX has not met in this process, though perhaps one of the same text."""
    return Program(lambda x: x**power + 1)


def made(power=3):
    """What came of making such a program, which must compute what it should."""
    program = polynomial(power)
    found = program.make(X)
    assert np.array_equal(program(X), X**power + 1)
    return found


def entries(folder):
    """The programs that are kept; beside them are the marks of those that were checked."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "checked" not in path.parts)


def test_a_program_is_kept_and_taken_from_there_the_next_time(folder):
    assert [made().cached, made().cached] == [False, True]
    assert len(entries(folder)) == 1
    assert made(power=4).cached is False
    assert len(entries(folder)) == 2


def test_the_folder_is_for_its_user_alone(folder):
    made()
    [entry] = entries(folder)
    assert entry.parent == folder / "xla" / cache.machine()
    assert entry.parent.stat().st_mode & 0o077 == 0


def opened(path):
    path.chmod(0o777)


def elsewhere(path):
    path.rename(path.with_name("theirs"))
    path.symlink_to("theirs")


def given_away(path):
    try:
        os.chown(path, os.geteuid() + 1, -1)
    except PermissionError:
        pytest.skip("only root can give a folder away")


@pytest.mark.skipif(os.name != "posix", reason="needs owners and modes of POSIX")
@pytest.mark.parametrize("change", [opened, elsewhere, given_away])
def test_a_folder_that_others_can_write_to_is_not_used_and_said_so(folder, change):
    made()
    before = entries(folder)
    change(folder / "xla" / cache.machine())
    for power in (3, 4):
        found = made(power=power)
        assert not found.cached
        assert f"others can write to {folder / 'xla' / cache.machine()}" in found.note
    assert len(entries(folder)) == len(before)


@pytest.mark.skipif(os.name != "posix", reason="needs owners and modes of POSIX")
def test_so_it_is_where_others_can_write_further_up(folder):
    made()
    folder.chmod(0o777)
    assert f"others can write to {folder})" in made().note
    folder.chmod(0o1777)  # as /tmp, where nobody can rename what is not theirs
    assert made().note is None


def test_a_program_is_made_once():
    program = polynomial()
    assert program.make(X).seconds > 0
    assert program.make(X) is None


def test_what_compiles_in_no_time_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(kept, "LEAST", 60.0)
    made()
    assert entries(folder) == []


def test_switched_off_nothing_is_kept(folder, monkeypatch):
    monkeypatch.setenv(cache.SWITCH, "off")
    assert [made(), made()] == [(pytest.approx(0, abs=60), False, None)] * 2
    assert not folder.exists()


def test_programs_of_graphs_are_kept_too(folder):
    cr.compile(cr.tanh, backend="xla")([1.0, 2.0])
    assert len(entries(folder / "xla")) == 1


SETTINGS = (
    "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_compilation_cache_max_size",
    "jax_raise_persistent_cache_errors",
)  # fmt: skip


@pytest.fixture
def eager():
    """A user's setting: to keep whatever compiles, however quickly."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 0.0)
    yield
    jax.config.update(name, before)


def test_the_settings_of_other_jax_code_are_left_alone(folder, eager):
    before = [getattr(jax.config, name) for name in SETTINGS]
    made()
    assert [getattr(jax.config, name) for name in SETTINGS] == before
    with pytest.raises(ZeroDivisionError), keeping():
        raise ZeroDivisionError
    assert [getattr(jax.config, name) for name in SETTINGS] == before


def test_the_programs_of_other_jax_code_are_not_kept(folder, eager):
    made()
    before = entries(folder)
    jax.jit(lambda x: x * 5 - 2)(X)
    assert entries(folder) == before


def test_a_cache_that_the_user_has_set_up_is_used_in_place_of_ours(folder, eager, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    try:
        assert [made(power=5).cached, made(power=5).cached] == [False, True]
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        jax.experimental.compilation_cache.compilation_cache.reset_cache()
    assert len(entries(tmp_path / "theirs")) == 1
    assert entries(folder) == []


def test_a_damaged_entry_is_ignored_and_replaced(folder, recwarn):
    made()
    [entry] = entries(folder)
    entry.write_bytes(entry.read_bytes()[:100])
    damaged = made()
    assert (damaged.cached, damaged.note) == (False, None)
    assert [made().cached, made().cached] == [False, True]
    assert not recwarn.list


def test_a_folder_that_cannot_be_made_is_a_note(folder, recwarn):
    folder.write_text("a file stands in its place")
    found = made()
    assert found.cached is False
    assert found.note.startswith("compiled programs are not kept (")
    assert cache.SWITCH in found.note
    assert "\n" not in found.note
    assert not recwarn.list


def test_a_full_disk_is_a_note_and_leaves_no_half_entry(folder, monkeypatch, recwarn):
    def half(self, data):
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    found = made()
    assert "No space left on device" in found.note
    assert entries(folder) == []
    assert not recwarn.list


def test_trouble_ends_no_training_where_warnings_are_errors(folder, monkeypatch):
    def refuse(self, data):
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "read-only" in made().note


def test_warnings_of_another_kind_reach_the_user(folder):
    with pytest.warns(UserWarning, match="something else"), keeping():
        warnings.warn("something else", stacklevel=1)


def test_what_was_longest_not_used_makes_room(folder, monkeypatch):
    made(power=2)
    [first] = entries(folder)
    monkeypatch.setattr(kept, "ROOM", int(1.5 * first.stat().st_size))
    time.sleep(0.01)
    made(power=3)
    [second] = entries(folder)
    assert second != first
    assert made(power=3).cached


def test_several_at_once_do_not_disturb_each_other(folder):
    found = []
    threads = [threading.Thread(target=lambda power=power: found.append(made(power))) for power in (6, 6, 7, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert jax.config.jax_compilation_cache_dir is None


def test_a_second_training_takes_its_program_from_the_cache_and_comes_to_the_same(folder):
    first, second = (classifier(backend="xla") for _ in range(2))
    histories = [trainer.fit(*table(), epochs=2, batch_size=25, **QUIET) for trainer in (first, second)]
    assert [history.from_cache for history in histories] == [False, True]
    assert same(first, second)


def test_a_training_says_what_kept_its_program_from_being_kept_once(folder):
    folder.write_text("a file stands in its place")
    trainer = classifier(backend="xla")
    history = trainer.fit(*table(), epochs=1, batch_size=50, **QUIET)
    [note] = history.notes
    assert "compiled programs are not kept" in note
