"""Several networks of one shape side by side, their weights stacked: the members of an ensemble.

What they compute has the members as its first axis, (members, N, …), so that a product of matrices is one for each of
them. `EnsembleLoss` says how much a row counts for each member, so that each can be trained on rows of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ShapeError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn import init as initial
from chainrule.nn.embeddings import PiecewiseLinear
from chainrule.nn.losses import Loss
from chainrule.nn.module import Buffer, Module, Parameter

Array = np.ndarray[Any, Any]


class LinearEnsemble(Module):
    """Yⱼ = Xⱼ·Wⱼ + bⱼ for each member j.

    Args:
        members: how many there are.
        in_features: the width of X, (members or 1, N, in_features): 1 where all have the same rows.
        out_features: the width of Y, (members, N, out_features).
        init: the name of a function of `nn.init`, drawn for each member.

    Attributes:
        weight: (members, in_features, out_features) float32: each member's is the transpose of a `Linear`'s.
        bias: (members, 1, out_features) float32, from 0.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.LinearEnsemble(5, 3, 2)(np.ones((1, 7, 3))).shape
        (5, 7, 2)
    """

    def __init__(self, members: int, in_features: int, out_features: int, init: str = "kaiming_uniform") -> None:
        self.members = check_number("members", members, low=1, integer=True)
        self.in_features = check_number("in_features", in_features, low=1, integer=True)
        self.out_features = check_number("out_features", out_features, low=1, integer=True)
        self.init = init
        draw = initial.initializer(init)
        self.weight = Parameter(np.stack([draw((out_features, in_features)).T for _ in range(members)]))
        self.bias = Parameter(initial.zeros((members, 1, out_features)))

    def forward(self, x: Any) -> Tensor:
        """X·W + b."""
        return F.matmul(x, self.weight) + self.bias

    def extra(self) -> str:
        """The sizes."""
        return f"{self.members} × ({self.in_features}, {self.out_features})"


class EnsembleInput(Module):
    """What the members of an ensemble are fed of the columns of a table: numbers in pieces, vectors for codes.

    Args:
        members: how many there are.
        width: columns of X.
        numbers: those that are numbers, which also become ramps over `bins` (see `PiecewiseLinear`).
        codes: those that are codes, 0…levels, which become learnt vectors, each member its own.
        levels: of each code.
        bins: 0 for no ramps.
        embedding_dim: the length of those vectors.
        fewest: rows of `fit` that a level must have for a vector of its own; from 1.
        shrinkage: rows of a level by which its vector counts half; from 0.

    Attributes:
        out_features: the width of what it gives: every column but the codes, the ramps, the vectors.
        pieces: the ramps, to be fitted to X; None without.
        vectors: (members, levels + 1, embedding_dim) for each code, from N(0, 0.05²).
        own: (levels + 1,) for each code, 1 for a level with a vector of its own, 0 for one of too few rows: its vector
            is that of code 0, which stands for every level that little is known of.
        trust: (levels + 1,) for each code, what its vectors are multiplied by, n/(n + `shrinkage`) for one that stands
            for n rows of `fit`: what few rows say is taken for less, as in a model with random effects.

    Example:
        >>> import chainrule as cr
        >>> feed = cr.nn.EnsembleInput(5, width=3, numbers=[0, 1], codes=[2], levels=[20], embedding_dim=4)
        >>> feed(np.zeros((7, 3))).shape, feed.out_features
        ((5, 7, 6), 6)
    """

    def __init__(
        self,
        members: int,
        width: int,
        numbers: Any = (),
        codes: Any = (),
        levels: Any = (),
        bins: int = 0,
        embedding_dim: int = 8,
        fewest: int = 1,
        shrinkage: float = 5.0,
    ) -> None:
        self.members = check_number("members", members, low=1, integer=True)
        self.width = check_number("width", width, low=1, integer=True)
        self.numbers, self.codes, self.levels = list(numbers), list(codes), list(levels)
        if len(self.codes) != len(self.levels):
            raise ArgumentError("one number of levels for each code", where="levels", got=self.levels)
        self.bins = check_number("bins", bins, low=0, integer=True)
        self.embedding_dim = check_number("embedding_dim", embedding_dim, low=1, integer=True)
        self.pieces = PiecewiseLinear(len(self.numbers), bins) if self.numbers and bins else None
        self.vectors = [Parameter(initial.normal((members, count + 1, embedding_dim))) for count in self.levels]
        self.fewest = check_number("fewest", fewest, low=1, integer=True)
        self.shrinkage = check_number("shrinkage", shrinkage, low=0)
        self.own = [Buffer(np.ones(count + 1, np.int32)) for count in self.levels]
        self.trust = [Buffer(np.ones(count + 1, np.float32)) for count in self.levels]
        self._plain = [column for column in range(width) if column not in set(self.codes)]
        self.out_features = len(self._plain) + bins * len(self.numbers) + embedding_dim * len(self.codes)

    def fit(self, X: Any) -> None:
        """Fit the ramps, and the trust in levels, to X (N, width)."""
        X = np.asarray(X)
        if self.pieces is not None:
            self.pieces.fit(X[:, self.numbers])
        for column, own, trust in zip(self.codes, self.own, self.trust, strict=True):
            rows = np.bincount(X[:, column].astype(int), minlength=trust.shape[0])
            known = rows >= self.fewest
            known[0] = False
            rows[0] = rows[~known].sum()
            own.assign(known.astype(np.int32))
            trust.assign((rows / np.maximum(rows + self.shrinkage, 1)).astype(trust.dtype))

    def forward(self, x: Any) -> Tensor:
        """X (N, width), or (N, members or 1, width) where each member has its own rows, to (members or 1, N, …)."""
        x = F.as_tensor(x)
        x = F.expand_dims(x, 0) if x.ndim == 2 else F.swapaxes(x, 0, 1)
        parts = [x[..., self._plain] if self.codes else x]
        if self.pieces is not None:
            parts.append(self.pieces(x[..., self.numbers]))
        if self.codes:
            parts = [F.broadcast_to(part, (self.members, *part.shape[1:])) for part in parts]
            member = np.arange(self.members).reshape(-1, 1)
            indices = [F.cast(x[..., column], np.int32) for column in self.codes]
            every = zip(self.vectors, self.own, self.trust, indices, strict=True)
            for vectors, own, trust, given in every:
                index = given * own[given]
                parts.append(vectors[member, index] * F.expand_dims(trust[index], -1))
        return parts[0] if len(parts) == 1 else F.concatenate(parts, axis=-1)

    def extra(self) -> str:
        """The sizes."""
        return f"{self.members} × ({self.width}, {self.out_features})"


class EnsembleOutput(Module):
    """From (members, N, …) to rows first: (N, members, …)."""

    def forward(self, x: Any) -> Tensor:
        """The first two axes exchanged."""
        return F.swapaxes(x, 0, 1)


class EnsembleLoss(Module):
    """The mean over the members of their losses, C = Σᵢⱼ wᵢⱼ·cᵢⱼ / (N·members), with the gradient of their sum.

    So each member's gradient is that of its own loss, as if it were trained alone. How much a row counts for a member,
    wᵢⱼ, stands beside its target.

    Args:
        loss: with reduction "none": of (N, K) outputs and labels where it takes those, else of (N, 1) and (N, 1).
        labels: whether targets are labels.

    Raises:
        ArgumentError: the loss gives one number for all rows.

    Example:
        >>> import chainrule as cr
        >>> loss = EnsembleLoss(cr.nn.MSELoss("none"))
        >>> outputs = np.array([[[1.0], [3.0]]])  # of one row and two members
        >>> loss(outputs, np.array([[[1.0, 1.0], [1.0, 0.5]]])).item()  # the second counts half
        1.0
    """

    def __init__(self, loss: Loss, labels: bool = False) -> None:
        if loss.reduction != "none":
            raise ArgumentError("one number a row is needed", where="loss", hint=f"{type(loss).__name__}('none')")
        self.loss, self.labels = loss, bool(labels)

    def forward(self, output: Any, target: Any) -> Tensor:
        """Outputs (N, members, K), and (N, members, 2): target and weight; or (N,) or (N, 1) targets that all count 1.

        Raises:
            ShapeError: the targets are of another number of members.
        """
        output, target = F.as_tensor(output), F.as_tensor(target)
        rows, members, width = output.shape
        if target.ndim < 3:
            target = F.broadcast_to(F.reshape(target, (rows, 1)), (rows, members))
            weights = None
        elif target.shape[1:] != (members, 2):
            raise ShapeError("not a target for each member", where="target", expected=(rows, members, 2), got=target)
        else:
            target, weights = target[..., 0], target[..., 1]
        wanted = F.reshape(target, (-1,))
        wanted = F.cast(wanted, np.int32) if self.labels else F.expand_dims(wanted, -1)
        found = F.reshape(self.loss(F.reshape(output, (-1, width)), wanted), (rows, members))
        mean = F.sum(found if weights is None else found * weights) / float(rows * members)
        # No change of the value; as a slope it counts as often as there are other members.
        return mean + (mean - mean.detach()) * float(members - 1)
