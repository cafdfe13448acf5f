"""Networks that generate images, pixel by pixel."""
