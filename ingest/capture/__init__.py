"""Run the model once and keep what flowed."""
