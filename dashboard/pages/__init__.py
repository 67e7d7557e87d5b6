"""The tabs of the page: each has `layout` and `register`."""
