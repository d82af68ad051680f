"""PyTorch with `torch.compile` around forward and loss, which compiles the backward pass too; needs a C++ compiler."""

from __future__ import annotations

import torch

from peers import torch_eager


class Peer(torch_eager.Peer):
    """The eager peer with one line added, and the optimizer that it fuses itself."""

    def prepare(self) -> None:
        """Compiled at the first batch."""
        super().prepare()
        self.forward = torch.compile(super().forward)  # type: ignore[method-assign]
