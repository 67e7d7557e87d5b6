"""A forward pass taken apart: its vectors, what flows between them, and what each adds to the answer.

Everything here is pure: arrays in, arrays out.
"""
