"""What a model is made of: descriptions of families, loading, and the contract a description must keep."""
