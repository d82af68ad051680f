import errno
import os
import pickle
import subprocess
import sys
import threading
import warnings

import jax
import numpy as np
import pytest

import chainrule as cr
from chainrule import files
from chainrule.backends import cache
from chainrule.backends.kernels import KERNELS
from chainrule.backends.xla import compile_cache, compiler, single_kernel
from chainrule.backends.xla.compiler import Program
from chainrule.backends.xla.lower import OWN, function
from small import QUIET, classifier, same, table

X = np.arange(6.0, dtype=np.float32)
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs owners and modes of POSIX")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache folder, for programs that are as quick to compile as those here."""
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setattr(compile_cache, "MIN_SECONDS", 0.0)
    return tmp_path / "kept"


def polynomial(power=3):
    """A program that this process has not made."""
    graph = cr.trace(lambda x: x**power + 1, X).simplify()
    return Program(function(graph), graph=graph)


def made(power=3):
    """What came of making such a program, which must compute what it should."""
    program = polynomial(power)
    found = program.make([X])
    np.testing.assert_allclose(program([X])[0], X**power + 1, rtol=1e-6)
    return found


def entries(folder):
    """The files that are kept."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def untraced(monkeypatch):
    """From here on, JAX must not be asked to trace anything."""
    return lambda: monkeypatch.setattr(jax, "jit", None)


def test_a_program_is_kept_and_taken_from_there_the_next_time(folder):
    assert [made().cached, made().cached] == [False, True]
    assert len(entries(folder)) == 1
    assert made(power=4).cached is False
    assert len(entries(folder)) == 2


def test_a_program_that_is_kept_is_neither_traced_nor_compiled(folder, untraced):
    made()
    untraced()
    assert made().cached


def test_a_kept_program_says_the_same_of_itself(folder):
    first, second = polynomial(), polynomial()
    assert [program.make([X]).cached for program in (first, second)] == [False, True]
    assert first.extra == second.extra > 0
    assert second.text


def test_what_a_program_takes_and_how_it_is_compiled_count(folder, monkeypatch):
    made()
    graph = cr.trace(lambda x: x**3 + 1, X).simplify()
    others = [
        Program(function(graph), compiler.LOOP, graph=graph),
        Program(function(graph), donate=(0,), graph=graph),
        Program(function(graph), fusions=False, graph=graph),
    ]
    assert not any(program.make([X]).cached for program in others)
    with jax.default_matmul_precision("bfloat16"):
        assert not made().cached
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_min_max=true")
    assert not made().cached
    monkeypatch.setattr(jax.lib, "__version__", "another")
    assert not made().cached


def test_constants_count_inside_loops_too(folder):
    def scaled(factor):
        ones = np.linspace(1, factor, 6, dtype=np.float32)
        return cr.compile(lambda x: cr.scan(lambda c, row: (c + row * ones, c), x[0], x)[0], backend="xla")

    rows = np.stack([X, X + 1])
    for factor in (2, 3, 2):
        expected = rows[0] + rows.sum(0) * np.linspace(1, factor, 6, dtype=np.float32)
        np.testing.assert_allclose(scaled(factor)(rows).numpy(), expected, rtol=1e-6)
    assert len(entries(folder)) == 2


def test_what_is_lowered_by_code_of_others_is_not_kept(folder, monkeypatch):
    monkeypatch.setitem(KERNELS, "sin", lambda xp, attrs: xp.sin)
    for f in (cr.sin, lambda x: cr.scan(lambda c, row: (c + cr.sin(row), c), x[0], x)[0]):
        cr.compile(f, backend="xla")(X)
    monkeypatch.setitem(OWN, "cos", lambda attrs: jax.numpy.cos)
    cr.compile(cr.cos, backend="xla")(X)
    assert entries(folder) == []


def test_the_folder_is_for_its_user_alone(folder):
    made()
    [entry] = entries(folder)
    assert entry.parent == folder / "xla" / cache.machine_digest()
    assert entry.parent.stat().st_mode & 0o077 == 0
    assert entry.stat().st_mode & 0o022 == 0


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


@POSIX
@pytest.mark.parametrize("change", [opened, elsewhere, given_away])
def test_a_folder_that_others_can_write_to_is_not_used_and_said_so(folder, change):
    made()
    before = entries(folder)
    change(folder / "xla" / cache.machine_digest())
    for power in (3, 4):
        found = made(power=power)
        assert not found.cached
        assert f"other users can write to {folder / 'xla' / cache.machine_digest()}" in found.note
    assert len(entries(folder)) == len(before)


@POSIX
def test_so_it_is_where_others_can_write_further_up(folder):
    made()
    folder.chmod(0o777)
    assert f"other users can write to {folder})" in made().note
    folder.chmod(0o1777)  # as /tmp, where nobody can rename what is not theirs
    assert made().note is None


@POSIX
@pytest.mark.parametrize("change", [opened, elsewhere, given_away])
def test_a_file_that_others_can_write_to_is_not_read(folder, change, monkeypatch):
    made()
    [entry] = entries(folder)
    change(entry)
    loaded = []
    monkeypatch.setattr(pickle, "loads", loaded.append)
    assert made().cached is False
    assert loaded == []


def test_a_program_is_made_once():
    program = polynomial()
    assert program.make([X]).seconds > 0
    assert program.make([X]) is None


def test_what_compiles_in_no_time_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(compile_cache, "MIN_SECONDS", 60.0)
    made()
    assert entries(folder) == []


def test_switched_off_nothing_is_kept(folder, monkeypatch):
    monkeypatch.setenv(cache.CACHE_VARIABLE, "off")
    assert [made(), made()] == [(pytest.approx(0, abs=60), False, None)] * 2
    assert not folder.exists()


def test_programs_of_graphs_are_kept_too(folder):
    cr.compile(cr.tanh, backend="xla")([1.0, 2.0])
    assert len(entries(folder / "xla")) == 1


def test_settings_and_programs_of_other_jax_code_are_left_alone(folder):
    before = dict(jax.config.values)
    made()
    assert jax.config.values == before
    kept_now = entries(folder)
    jax.jit(lambda x: x * 5 - 2)(X)
    assert entries(folder) == kept_now


def test_a_cache_that_the_user_has_set_up_is_used_in_place_of_ours(folder, tmp_path):
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    jax.config.update(name, 0.0)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()
    try:
        assert [made(power=5).cached, made(power=5).cached] == [False, False]
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update(name, before)
        jax.experimental.compilation_cache.compilation_cache.reset_cache()
    assert len(entries(tmp_path / "theirs")) == 1
    assert entries(folder) == []


def cut(path, other):
    path.write_bytes(path.read_bytes()[:100])


def emptied(path, other):
    path.write_bytes(b"")


def flipped(path, other):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def exchanged(path, other):
    path.write_bytes(other.read_bytes())


def sealed_nonsense(path, other):
    path.unlink()
    compile_cache.CacheEntry(path.name).save(pickle.dumps("no program"))


@pytest.mark.parametrize("damage", [cut, emptied, flipped, exchanged, sealed_nonsense])
def test_a_damaged_or_foreign_file_is_ignored_and_replaced(folder, damage, recwarn):
    made(power=4)
    [other] = entries(folder)
    made()
    [entry] = set(entries(folder)) - {other}
    damage(entry, other)
    damaged = made()
    assert (damaged.cached, damaged.note) == (False, None)
    assert [made().cached, made(power=4).cached] == [True, True]
    assert not recwarn.list


def test_a_folder_that_cannot_be_made_is_a_note(folder, recwarn):
    folder.write_text("a file stands in its place")
    found = made()
    assert found.cached is False
    assert found.note.startswith("compiled programs are not cached (")
    assert cache.CACHE_VARIABLE in found.note
    assert "\n" not in found.note
    assert not recwarn.list


@pytest.fixture
def full(monkeypatch):
    """A disk that is full by the time a file is to be synced."""

    def refuse(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)


def test_a_full_disk_is_a_note_and_leaves_no_half_file(folder, full, recwarn):
    found = made()
    assert "No space left on device" in found.note
    assert entries(folder) == []
    assert not recwarn.list


def test_trouble_ends_no_training_where_warnings_are_errors(folder, full):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "compiled programs are not cached" in made().note


def test_what_cannot_be_put_into_a_file_is_a_note(folder, monkeypatch):
    from jax.experimental import serialize_executable

    def refuse(compiled):
        raise ValueError("Compilation does not support serialization")

    monkeypatch.setattr(serialize_executable, "serialize", refuse)
    assert "does not support serialization" in made().note
    assert entries(folder) == []


def test_a_program_there_is_a_note_about_is_not_kept_so_that_it_is_said_again(folder, monkeypatch):
    monkeypatch.setattr(compiler, "SAFE", "-reduce")
    assert [compiler.LIBRARY in made().note for _ in range(2)] == [True, True]
    assert entries(folder) == []


def test_what_was_longest_not_used_makes_room(folder, monkeypatch):
    made(power=2)
    [first] = entries(folder)
    made(power=3)
    [second] = set(entries(folder)) - {first}
    for path, seconds in ((first, 100), (second, 200)):
        os.utime(path, (seconds, seconds))
    assert made(power=2).cached  # and thereby used last
    monkeypatch.setattr(compile_cache, "MAX_BYTES", int(2.5 * first.stat().st_size))
    made(power=4)
    assert [made(power=power).cached for power in (2, 4, 3)] == [True, True, False]


def test_several_at_once_do_not_disturb_each_other(folder):
    found = []
    threads = [threading.Thread(target=lambda power=power: found.append(made(power))) for power in (6, 6, 7, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(entries(folder)) == 2


def test_a_second_training_takes_its_program_from_the_cache_and_comes_to_the_same(folder, untraced):
    first, second = (classifier(backend="xla") for _ in range(2))
    cached = []
    for trainer in (first, second):
        cached.append(trainer.fit(*table(), epochs=2, batch_size=25, **QUIET).from_cache)
        untraced()
    assert cached == [False, True]
    assert same(first, second)


WARM = """
import sys
import jax
import numpy as np
import chainrule as cr

if sys.argv[1] == "untraced":
    jax.jit = None
rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 4)).astype("float32"), rng.integers(0, 3, 60)
cr.seed(0)
trainer = cr.Trainer(cr.nn.Linear(4, 3), cr.nn.CrossEntropyLoss(), cr.optim.Adam(0.01), backend="xla")
history = trainer.fit(X, y, epochs=2, batch_size=16, validation=0.2, progress=False)
sweep = cr.Sweep(
    lambda: cr.nn.Sequential(cr.nn.Linear(4, 3)), cr.nn.CrossEntropyLoss(), lambda lr: cr.optim.SGD(lr),
    {"lr": [0.01, 0.1]}, backend="xla",
)
trials = sweep.fit(X, y, epochs=2, batch_size=16, progress=False).trials
f = cr.compile(lambda x: cr.tanh(x) @ x.T, backend="xla")
print(history.verify_seconds > 0, trials[0].history.loss, history.loss, history.val_loss)
print(trainer.predict(X[:2]).tolist(), trainer.evaluate(X, y), f(X[:3]).numpy().tolist())
"""


def test_a_new_process_with_its_programs_kept_traces_nothing_and_comes_to_the_same_bits(folder):
    code = f"from chainrule.backends.xla import compile_cache\ncompile_cache.MIN_SECONDS = 0.0\n{WARM}"
    said = [
        subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True, check=True).stdout
        for word in ("traced", "untraced")
    ]
    assert said[0].startswith("True")
    assert said[1].startswith("False")
    assert said[0].removeprefix("True") == said[1].removeprefix("False")


@pytest.mark.parametrize("answer", [True, False])
def test_whether_one_kernel_can_be_made_is_asked_once(folder, monkeypatch, answer):
    monkeypatch.setattr(single_kernel, "_compiles_to_one", lambda: answer)
    assert single_kernel.is_supported.__wrapped__() is answer
    monkeypatch.setattr(single_kernel, "_compiles_to_one", None)
    assert single_kernel.is_supported.__wrapped__() is answer


def test_a_training_says_what_kept_its_program_from_being_kept_once(folder):
    folder.write_text("a file stands in its place")
    trainer = classifier(backend="xla")
    history = trainer.fit(*table(), epochs=1, batch_size=50, **QUIET)
    [note] = history.notes
    assert "compiled programs are not cached" in note
