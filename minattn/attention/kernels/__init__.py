"""Fused bodies of the mechanisms and their gradients, on raw arrays.  Each mechanism's page has the equation."""
