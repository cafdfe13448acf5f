"""Networks that find the joints of a body."""
