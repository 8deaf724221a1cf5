"""Paddle inference programs as a graph: read, edit, shapes, cost, write."""
