"""Networks for human pose estimation."""
