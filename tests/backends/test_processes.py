"""Processes that are forked or spawned from one that has trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule as cr
from chainrule import nn, optim
from small import QUIET, table

PROGRAM = """
import multiprocessing, sys
import numpy as np
import chainrule as cr
from chainrule import nn, optim

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
y = (X[:, 0] > 0).astype(int)

def trainer(backend):
    cr.seed(0)
    return cr.Trainer(nn.Sequential(nn.Linear(4, 2)), nn.CrossEntropyLoss(), optim.Adam(0.1), backend=backend)

def trained(backend):
    return trainer(backend).fit(X, y, epochs=2, progress=False).loss

def answer(backend, use, queue):
    try:
        queue.put(use(backend))
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")

def child(how, backend, use):
    context = multiprocessing.get_context(how)
    queue = context.Queue()
    process = context.Process(target=answer, args=(backend, use, queue))
    process.start()
    found = queue.get(timeout=100)
    process.join(100)
    return found

if __name__ == "__main__":
    kept = trainer("xla")
    kept.predict(X)
    here = {backend: trained(backend) for backend in ("numpy", "xla")}
    assert child("fork", "numpy", trained) == here["numpy"], "numpy, forked"
    assert child("spawn", "xla", trained) == here["xla"], "xla, spawned"
    for use in (trained, lambda backend: kept.predict(X).shape):
        said = child("fork", "xla", use)
        assert said.startswith("ArgumentError: backend: XLA cannot be used in a process forked from one"), said
        assert '"spawn"' in said and "numpy" in said and "\\n" not in said, said
    assert trained("xla") == here["xla"], "the parent"
    print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_child_trains_on_numpy_or_says_what_to_do_and_a_spawned_one_trains(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_child_forked_before_jax_was_used_may_use_it() -> None:
    program = (
        "import os, sys, numpy as np, chainrule as cr\n"
        "pid = os.fork()\n"
        "if pid:\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "assert cr.trace(lambda x: x * 2.0, 1.0).run(2.0, backend='xla') == 4.0\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=200)


def test_a_trainer_that_has_not_been_forked_uses_both() -> None:
    for backend in ("numpy", "xla"):
        trainer = cr.Trainer(nn.Linear(4, 3), nn.CrossEntropyLoss(), optim.SGD(0.1), backend=backend)
        assert trainer.fit(*table(), epochs=1, **QUIET).backend == backend
