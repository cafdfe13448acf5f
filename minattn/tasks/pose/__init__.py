"""Joints of bodies."""
