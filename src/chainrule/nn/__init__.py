"""Networks: modules, losses, initial weights."""

from chainrule.nn import init
from chainrule.nn.layers import (
    Add,
    Dropout,
    Duplicate,
    Flatten,
    Identity,
    Lambda,
    Linear,
    LogSoftmax,
    Max,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from chainrule.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, Loss, MSELoss, NLLLoss
from chainrule.nn.module import Buffer, Module, Parameter

__all__ = [
    "Add", "BCELoss", "BCEWithLogitsLoss", "Buffer", "CrossEntropyLoss", "Dropout", "Duplicate", "Flatten", "Identity",
    "Lambda", "Linear", "LogSoftmax", "Loss", "MSELoss", "Max", "Module", "NLLLoss", "Parameter", "ReLU", "Sequential",
    "SiLU", "Sigmoid", "Softmax", "Tanh", "init",
]  # fmt: skip
