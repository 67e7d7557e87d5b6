"""Static neurons: rows of the output matrices, shared by all prompts of a model."""

from ingest.neurons.index import NeuronIndex
from ingest.neurons.ranks import TargetRanks

__all__ = ["NeuronIndex", "TargetRanks"]
