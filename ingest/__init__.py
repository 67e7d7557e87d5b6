"""Prompts to graphs: architecture, capture, decompose, lens, static neurons, graph, pipeline."""
