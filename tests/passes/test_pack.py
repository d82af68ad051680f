import numpy as np
import pytest

import chainrule as cr
from chainrule.passes.pack import PackedLayout

SHAPES: dict[str, tuple[int, ...]] = {
    "0.weight": (3, 4),
    "0.bias": (3,),
    "scale": (),
    "none": (0, 2),
    "last": (1, 2, 2),
}
rng = np.random.default_rng(0)
NAMED = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


def test_what_is_packed_comes_out_again_as_it_was() -> None:
    layout = PackedLayout.of(NAMED)
    vector = layout.pack({name: cr.tensor(value) for name, value in NAMED.items()})
    assert vector.shape == (12 + 3 + 1 + 0 + 4,)
    found = layout.unpack(vector)
    assert list(found) == list(NAMED)
    for name, value in NAMED.items():
        assert found[name].shape == value.shape
        assert np.array_equal(found[name].numpy(), value)


def test_tensors_lie_one_after_another_in_the_order_of_the_layout() -> None:
    layout = PackedLayout.of({"b": np.zeros(2), "a": np.zeros((1, 1))})
    shuffled = {"a": cr.tensor([[3.0]]), "b": cr.tensor([1.0, 2.0])}
    assert layout.pack(shuffled).tolist() == [1.0, 2.0, 3.0]


def test_unpacking_takes_arrays_and_keeps_their_precision() -> None:
    found = PackedLayout.of({"w": np.zeros((2, 2))}).unpack(np.arange(4, dtype=np.float32))
    assert found["w"].tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert found["w"].dtype == np.float32


def test_gradients_flow_through_packing_and_unpacking() -> None:
    layout = PackedLayout.of({"a": np.zeros((2, 2)), "b": np.zeros(3)})

    def cost(vector: cr.Tensor) -> cr.Tensor:
        parts = layout.unpack(vector)
        return cr.sum(cr.square(layout.pack({"a": parts["a"] * 2.0, "b": cr.tanh(parts["b"])})))

    cr.check_grad(cost, rng.normal(size=7))


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_packed_computation_traces_and_runs(backend: str) -> None:
    layout = PackedLayout.of({"w": np.zeros((2, 3)), "b": np.zeros(2)})

    def forward(vector: cr.Tensor, x: cr.Tensor) -> cr.Tensor:
        parts = layout.unpack(vector)
        return cr.linear(x, parts["w"], parts["b"])

    vector, x = rng.normal(size=8), rng.normal(size=(5, 3))
    graph = cr.trace(forward, vector, x).simplify().verify()
    assert np.allclose(graph.run(vector, x, backend=backend), x @ vector[:6].reshape(2, 3).T + vector[6:])
