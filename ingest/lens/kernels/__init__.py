"""Compiled passes over logits. Import them only to project: they load numba."""
