"""Images, generated pixel by pixel."""
