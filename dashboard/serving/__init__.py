"""Serving the application: who may see it, and what the browser may do."""
