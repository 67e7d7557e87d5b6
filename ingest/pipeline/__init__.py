"""The way of the data: prompts, forward passes, decomposition, lens, shards, store."""
