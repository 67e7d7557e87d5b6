"""The paper's figures and tables over any prompts of a store: queries in, plain records out."""

from query.analyses.catalogue import ANALYSES, Analysis, analyze
from query.analyses.records import Figure, Missing
from query.analyses.sample import Options, Sample

__all__ = ["ANALYSES", "Analysis", "Figure", "Missing", "Options", "Sample", "analyze"]
