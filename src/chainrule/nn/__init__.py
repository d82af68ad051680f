"""Networks: modules, losses, initial weights."""

from chainrule.nn import init
from chainrule.nn.activation_checkpoint import Checkpoint
from chainrule.nn.activations import (
    ELU,
    GELU,
    SELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from chainrule.nn.embeddings import Embedding, PiecewiseLinear
from chainrule.nn.ensembles import EnsembleInput, EnsembleLoss, EnsembleOutput, LinearEnsemble
from chainrule.nn.layers import Add, Dropout, Duplicate, Flatten, Identity, Lambda, Linear, Max, Sequential
from chainrule.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    NLLLoss,
)
from chainrule.nn.module import Buffer, Module, Parameter, update
from chainrule.nn.named_losses import NamedLosses
from chainrule.nn.normalization import BatchNorm, LayerNorm

__all__ = [
    "ELU", "GELU", "SELU", "Add", "BCELoss", "BCEWithLogitsLoss", "BatchNorm", "Buffer", "Checkpoint",
    "CrossEntropyLoss", "Dropout", "Duplicate", "Embedding", "EnsembleInput", "EnsembleLoss", "EnsembleOutput",
    "Flatten", "HuberLoss", "Identity", "L1Loss", "Lambda", "LayerNorm", "LeakyReLU", "Linear", "LinearEnsemble",
    "LogSigmoid", "LogSoftmax", "Loss", "MSELoss", "Max", "Module", "NLLLoss", "NamedLosses", "Parameter",
    "PiecewiseLinear", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "init", "update",
]  # fmt: skip
