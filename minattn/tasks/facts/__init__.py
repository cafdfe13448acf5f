"""Questions about facts, answered from a key-value memory."""
