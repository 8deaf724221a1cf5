"""`edgekit check`: does a bundle hold together, and are its figures still those that were recorded?

From the cheap to the dear: hashes, what the files say of each other, layer by layer the weights and scales,
the golden vectors stage by stage, the task's figures on the evaluation pictures. What differs is named.
"""
