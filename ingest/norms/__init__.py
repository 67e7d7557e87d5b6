"""What the norms before attention and the MLP do to token probabilities, as means over prompts (section 5.2, appendix E)."""
