"""What holds in one thread or task does not hold in another."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.graph.mode import mode, setting


def test_blocks_that_overlap_in_two_threads_leave_nothing_behind():
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first():
        with cr.no_grad():
            first_in.set()
            second_in.wait(10)
        seen.append(mode.recording)
        first_out.set()

    def second():
        first_in.wait(10)
        seen.append(mode.recording)
        with cr.no_grad():
            second_in.set()
            first_out.wait(10)
        seen.append(mode.recording)

    threads = [threading.Thread(target=f) for f in (first, second)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert seen == [True, True, True]
    assert mode.recording


def test_a_task_that_waits_inside_no_grad_does_not_switch_it_off_for_others():
    seen = []

    async def silent(entered, leave):
        with cr.no_grad():
            entered.set()
            await leave.wait()

    async def recorded(entered, leave):
        await entered.wait()
        seen.append((cr.tensor(2.0, requires_grad=True) * 3.0).requires_grad)
        leave.set()

    async def both():
        entered, leave = asyncio.Event(), asyncio.Event()
        await asyncio.gather(silent(entered, leave), recorded(entered, leave))

    asyncio.run(both())
    assert seen == [True]


def test_a_block_that_is_left_by_an_error_is_left():
    try:
        with setting(tracing=True):
            raise KeyError
    except KeyError:
        pass
    assert not mode.tracing


def _work(number):
    cr.seed(number)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    X = np.random.Generator(np.random.Philox(number)).normal(size=(40, 6)).astype(np.float32)
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), cr.optim.Adam(1e-2), backend="numpy", seed=number)
    loss = trainer.fit(X, np.arange(40) % 3, epochs=2, validation=0.2, progress=False).loss
    compiled = cr.compile(cr.grad(lambda x: (cr.tanh(x) * number).sum()), backend="numpy")
    with cr.no_grad():
        silent = (model[0].weight * 2.0).requires_grad
    graph = str(cr.trace(nn.Dropout(0.5), X))
    return loss, compiled(np.full(3, 0.3)).tolist(), silent, graph, trainer.predict(X).tobytes(), mode.recording


def test_thirty_two_threads_give_bit_for_bit_what_one_gives():
    alone = [_work(number) for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(_work, range(32)))
    assert together == alone


def test_a_module_predicts_in_one_thread_while_it_trains_in_another():
    layer, x, wrong = nn.Dropout(0.5), np.ones(50), []
    done = threading.Event()

    def judge():
        while not done.is_set():
            with setting(training=False):
                if layer(x).numpy().min() < 1.0:
                    wrong.append("dropped in inference mode")

    t = threading.Thread(target=judge)
    t.start()
    trained = [layer(x).numpy().min() for _ in range(300)]
    done.set()
    t.join(10)
    assert max(trained) == 0.0
    assert not wrong
    assert layer.training
