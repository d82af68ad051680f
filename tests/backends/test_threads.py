"""Small steps have one BLAS thread, large ones as many as there were."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import chainrule as cr
from chainrule.backends import threads
from small import QUIET, classifier, table


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
