"""Recurrent units: the gated recurrent unit and long short-term memory."""
