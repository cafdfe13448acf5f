"""Recurrent units: the plain one with tanh, the gated recurrent unit and long short-term memory."""
