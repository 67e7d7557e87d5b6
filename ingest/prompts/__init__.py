"""Prompts files: every format and known shape to one kind of record. Loads no model and no torch."""

from ingest.prompts.files import FORMATS
from ingest.prompts.read import read_prompts
from ingest.prompts.records import Broken, Format, PromptInput, ReadOptions

__all__ = ["FORMATS", "Broken", "Format", "PromptInput", "ReadOptions", "read_prompts"]
