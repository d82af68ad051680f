"""PyTorch, eager: fused Adam, batches indexed out of one tensor, nothing read back inside the loop."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from chainrule.bench.peer import PeerBase
from chainrule.bench.task import LEARNING_RATE, Layers

DEVICES = {"cpu": "cpu", "gpu": "cuda"}


class Peer(PeerBase):
    """The loop of PyTorch's own tutorials, with the fused optimizer."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "tf32")
    devices: ClassVar[tuple[str, ...]] = ("cpu", "gpu")

    def prepare(self) -> None:
        """A Sequential of Linear and ReLU."""
        self.device = torch.device(DEVICES[self.cell.device])
        torch.set_float32_matmul_precision("high" if self.cell.precision == "tf32" else "highest")
        layers: list[nn.Module] = []
        for i, o in pairwise(self.cell.widths):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1]).to(self.device)
        self.linears = [layer for layer in self.model if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, (weight, bias) in zip(self.linears, self.task.weights(), strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
        x, y = self.task.data
        self.x, self.y = torch.from_numpy(x).to(self.device), torch.from_numpy(y).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)
        self.cost = nn.CrossEntropyLoss()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; weights stay float32, the products' operands are rounded if requested."""
        loss: torch.Tensor
        if self.cell.precision != "bfloat16":
            loss = self.cost(self.model(x), y)
            return loss
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self.cost(self.model(x), y)
        return loss

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.forward(x, y).backward()
        self.optimizer.step()

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """Step by step."""
        x, y = self.x, self.y
        if self.cell.whole:
            for _ in range(epochs):
                self.step(x, y)
        else:
            for order in self.orders(epochs, shuffled):
                for rows in torch.from_numpy(order).to(self.device):
                    self.step(x.index_select(0, rows), y.index_select(0, rows))
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def weights(self) -> Layers:
        """The Linear layers' weights."""
        return [(layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()) for layer in self.linears]

    @classmethod
    def version(cls) -> str:
        """PyTorch's version and threads."""
        return f"torch {torch.__version__}, {torch.get_num_threads()} threads"
