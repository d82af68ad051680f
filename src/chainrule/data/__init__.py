"""Tables and arrays in; standardised features, targets and minibatches out."""

from chainrule.data.bundled import BUNDLED
from chainrule.data.layout import Feature
from chainrule.data.learning_target import infer_task
from chainrule.data.loading import load
from chainrule.data.opening import stream
from chainrule.data.preprocessing import Preprocessor
from chainrule.data.sources import Source, from_arrays
from chainrule.data.split import Split, split
from chainrule.data.streams import Stream
from chainrule.data.target import Target
from chainrule.data.words import Reading

__all__ = [
    "BUNDLED", "Feature", "Preprocessor", "Reading", "Source", "Split", "Stream", "Target", "from_arrays", "infer_task",
    "load", "split", "stream",
]  # fmt: skip
