"""Small steps have one BLAS thread, large ones as many as there were."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import chainrule as cr
from chainrule.backends import threads
from small import QUIET, classifier, table

CAPTURED = {"capture_output": True, "text": True, "timeout": 500}


def blas_threads():
    """Of NumPy's own BLAS, where it brings one: SciPy's, which another test may have loaded, makes no products."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in pools if "numpy" in pool["filepath"]]
    return {pool["num_threads"] for pool in own or pools}


@pytest.fixture(autouse=True)
def _two():
    with threadpool_limits(2, user_api="blas"):
        yield


def test_a_small_step_has_one_thread_and_gives_the_others_back():
    graph = cr.trace(lambda x: x @ x, np.ones((8, 8)))
    with threads.suited([graph]):
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_a_large_step_keeps_all_threads():
    graph = cr.trace(lambda x: x @ x, np.ones((700, 700)))
    with threads.suited([graph]):
        assert blas_threads() == {2}


def test_a_large_step_in_a_container_has_as_many_threads_as_its_quota_has_cores(monkeypatch):
    graph = cr.trace(lambda x: x @ x, np.ones((700, 700)))
    monkeypatch.setattr(threads, "_cores", lambda: 1)
    with threads.suited([graph]):
        assert blas_threads() == {1}
    assert blas_threads() == {2}


THREADS = """
import os, sys
from pathlib import Path
from chainrule import resources
resources._ROOT = Path(sys.argv[1])
import numpy as np, chainrule as cr
cr.compile(lambda x: x @ x, backend="xla")(np.ones((500, 500), "float32"))
names = [Path(f"/proc/self/task/{t}/comm").read_text() for t in os.listdir("/proc/self/task")]
print(sum("XLAEigen" in name for name in names))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are counted as Linux shows them")
@pytest.mark.parametrize(("quota", "count"), [("100000 100000", 1), ("300000 100000", 3)])
def test_xla_has_as_many_threads_as_the_quota_has_cores(tmp_path, monkeypatch, quota, count):
    for name, text in {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    source = str(Path(cr.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", THREADS, tmp_path], env={**os.environ, "PYTHONPATH": source}, **CAPTURED
    )
    assert int(done.stdout) == min(count, len(os.sched_getaffinity(0))), done.stderr


def test_where_two_are_at_work_the_lower_limit_holds_until_both_are_done():
    graph = cr.trace(lambda x: x @ x, np.ones((8, 8)))
    first, second = threads.suited([graph]), threads.suited([graph])
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == {2}


def test_a_training_on_the_interpreter_runs_so(monkeypatch):
    seen = []
    product = np.matmul
    monkeypatch.setattr(np, "matmul", lambda *x, **more: (seen.append(blas_threads()), product(*x, **more))[1])
    classifier().fit(*table(), epochs=1, **QUIET)
    assert {1} in seen
    assert blas_threads() == {2}
