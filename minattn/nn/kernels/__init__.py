"""Fused bodies of the recurrent units, and their gradients: plain functions on raw arrays.

Each is made an op beside its equation, in `minattn.nn.recurrent`, which the tests hold it to.
"""
