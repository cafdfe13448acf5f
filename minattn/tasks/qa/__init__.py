"""Question answering with a memory."""
