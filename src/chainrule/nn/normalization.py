"""Normalisation: inputs of a layer brought to mean 0 and variance 1, then scaled by γ and shifted by β, both learnt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, check_number
from chainrule.graph import functions as F
from chainrule.graph.mode import mode
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Buffer, Module, Parameter, update


class SmallBatchError(ShapeError):
    """A batch that is too small to compute statistics from."""


class _Normalization(Module):
    """What the normalisations have in common: γ and β, named as in PyTorch."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, features: int, eps: float, affine: bool) -> None:
        self.features = check_number("features", features, low=1, integer=True)
        self.eps = check_number("eps", eps, low=0, low_open=True)
        self.affine = bool(affine)
        self.weight = Parameter(np.ones(features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(features, np.float32)) if affine else None

    def extra(self) -> str:
        """The width."""
        return str(self.features) + ("" if self.affine else ", affine=False")

    def _place(self) -> str:
        kind = type(self).__name__
        return f"layer {mode.module}, {kind}" if mode.module else kind

    def _check(self, x: Tensor, axis: int, expected: str) -> None:
        wide = x.shape[axis] if -x.ndim <= axis < x.ndim else None
        if wide != self.features:
            raise ShapeError(
                "the input's features do not match the layer",
                where=self._place(),
                expected=expected,
                got=x.shape,
                hint=f"make it features={wide}" if wide else "give it a batch of rows",
            )


class BatchNorm(_Normalization):
    """y = γ·(x − μ)/√(σ² + ε) + β, feature by feature. Ioffe & Szegedy (2015).

    In training μ and σ² are the mean and the variance (divided by n) of the batch, and the gradient goes through them;
    meanwhile the running statistics move towards them: r ← (1 − m)·r + m·(statistic of the batch), where the variance
    is the unbiased one (divided by n − 1), as in PyTorch. In inference the running statistics are used, and the layer
    is an affine map. For images or sequences (N, C, …) a feature is a channel, its statistics are over all places.

    The running statistics move whenever the module runs in training mode on values: called directly, inside `cr.grad`
    and the like, in `cr.compile`, in a `Trainer`. A `cr.trace`d graph is a function without memory: it uses the batch's
    statistics and leaves the running ones alone.

    Args:
        features: the size of axis 1 of x: (N, features) or (N, features, …).
        eps: ε, above 0.
        momentum: m in [0, 1], the weight of the newest batch. (Keras's momentum is 1 − m.)
        affine: whether there are γ (`weight`, from 1) and β (`bias`, from 0).

    Attributes:
        weight: γ, (features,) float32, or None.
        bias: β, (features,) float32, or None.
        running_mean: buffer (features,), from 0.
        running_var: buffer (features,), from 1; held at the largest float where a variance is beyond it.

    Raises:
        ArgumentError: an argument outside its range.
        ShapeError: another number of features; in training, a batch of one row: its variance is 0, the output would be
            β whatever the input is, and nothing could be learnt. (`cr.batch_norm` itself gives β then.)

    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.BatchNorm(2)
        >>> layer([[1.0, 10.0], [3.0, 30.0]]).numpy().round(2).tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
        >>> layer.running_mean.tolist()
        [0.20000000298023224, 2.0]
    """

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__(features, eps, affine)
        self.momentum = check_number("momentum", momentum, low=0, high=1)
        self.running_mean = Buffer(np.zeros(features, np.float32))
        self.running_var = Buffer(np.ones(features, np.float32))

    def forward(self, x: Any) -> Tensor:
        """X, normalised by the batch in training, by the running statistics in inference."""
        x = F.as_tensor(x)
        self._check(x, 1, f"(N, {self.features}) or (N, {self.features}, …)")
        axes = (0, *range(2, x.ndim))
        if not self.training:
            return self._by_running_statistics(x)
        count = math.prod(x.shape[axis] for axis in axes)
        if count < 2:
            raise SmallBatchError(
                "a single row has no variance to normalise by: the output would be β, and nothing could be learnt",
                where=self._place(),
                expected="at least 2 rows in training",
                got=f"a batch of {x.shape[0]}",
                hint="choose a batch_size that leaves no batch of 1, or call model.eval() first",
            )
        self._remember(x, axes, count)
        if self.weight is None:
            return F.standardize(x, axes, self.eps)
        return F.batch_norm(x, self.weight, self.bias, axes, self.eps)

    def _remember(self, x: Tensor, axes: tuple[int, ...], count: int) -> None:
        m = self.momentum

        def mean(running: Tensor) -> Tensor:
            return running * (1.0 - m) + F.mean(x, axes) * m

        def variance(running: Tensor) -> Tensor:
            unbiased = F.square(F.std(x, axes)) * (count / (count - 1))
            return running * (1.0 - m) + F.minimum(unbiased, float(np.finfo(x.dtype).max)) * m

        update(self.running_mean, mean)
        update(self.running_var, variance)

    def _by_running_statistics(self, x: Tensor) -> Tensor:
        along = (self.features, *(1,) * (x.ndim - 2))
        scale = 1.0 / F.sqrt(self.running_var + self.eps)
        centred = x - F.reshape(self.running_mean, along)
        if self.weight is None or self.bias is None:
            return centred * F.reshape(scale, along)
        return centred * F.reshape(self.weight * scale, along) + F.reshape(self.bias, along)


class LayerNorm(_Normalization):
    """y = γ·(x − μ)/√(σ² + ε) + β, row by row. Ba, Kiros & Hinton (2016).

    μ and σ² are the mean and the variance (divided by n) of each row's features: the same in training and in inference,
    and independent of what else is in the batch. PyTorch's layer also takes several last axes; this one takes the last.

    Args:
        features: the size of the last axis of x: (…, features).
        eps: ε, above 0.
        affine: whether there are γ (`weight`, from 1) and β (`bias`, from 0). PyTorch's `elementwise_affine`.

    Attributes:
        weight: γ, (features,) float32, or None.
        bias: β, (features,) float32, or None.

    Raises:
        ArgumentError: an argument outside its range.
        ShapeError: another number of features.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.LayerNorm(3)([[1.0, 2.0, 3.0]]).numpy().round(2).tolist()
        [[-1.22, 0.0, 1.22]]
    """

    def __init__(self, features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(features, eps, affine)

    def forward(self, x: Any) -> Tensor:
        """X, each row normalised."""
        x = F.as_tensor(x)
        self._check(x, -1, f"(…, {self.features})")
        if self.weight is None:
            return F.standardize(x, -1, self.eps)
        return F.layer_norm(x, self.weight, self.bias, self.eps)
