"""PyTorch with `torch.compile` around forward and loss, which compiles the backward pass too; needs a C++ compiler."""

from __future__ import annotations

import torch

from chainrule.bench.peers import torch as eager


class Peer(eager.Peer):
    """The eager peer with one line added; on a GPU the compiled parts are replayed as CUDA graphs."""

    def prepare(self) -> None:
        """Compiled at the first batch."""
        super().prepare()
        mode = "reduce-overhead" if self.cell.device == "gpu" else "default"
        self.forward = torch.compile(super().forward, mode=mode)  # type: ignore[method-assign]

    def close(self) -> None:
        """Forget the program, or the next network's shapes would be taken for variable ones."""
        torch.compiler.reset()
