"""Networks that describe images."""
