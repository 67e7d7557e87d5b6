"""Rows of a graph -> what is drawn: pure functions, no store and no Dash."""
