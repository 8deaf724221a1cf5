"""Training: a compressed program learns to answer like the float program that it was made from."""
