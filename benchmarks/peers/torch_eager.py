"""PyTorch, eager: fused Adam, batches indexed out of one tensor, nothing read back inside the loop."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from peers.task import LEARNING_RATE, Array, PeerBase


class Peer(PeerBase):
    """The loop that PyTorch's own tutorials write, with the fused optimizer."""

    def prepare(self) -> None:
        """A Sequential of Linear and ReLU."""
        layers: list[nn.Module] = []
        for i, o in pairwise(self.task.size.widths):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.linears = [layer for layer in self.model if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, (weight, bias) in zip(self.linears, self.task.weights(), strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
        x, y = self.task.data
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)
        self.cost = nn.CrossEntropyLoss()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        loss: torch.Tensor = self.cost(self.model(x), y)
        return loss

    def train(self, epochs: int) -> None:
        """Step by step."""
        forward, optimizer, x, y = self.forward, self.optimizer, self.x, self.y
        for order in self.orders(epochs):
            for rows in torch.from_numpy(order):
                optimizer.zero_grad(set_to_none=True)
                forward(x[rows], y[rows]).backward()
                optimizer.step()

    def weights(self) -> list[tuple[Array, Array]]:
        """The Linear layers' weights."""
        return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in self.linears]

    @classmethod
    def version(cls) -> str:
        """PyTorch's version and threads."""
        return f"torch {torch.__version__}, {torch.get_num_threads()} threads"
