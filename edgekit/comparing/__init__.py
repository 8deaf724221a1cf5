"""`edgekit diff`: two bundles side by side.

What their reports say of sizes, cost, gates, figures and layers, whether a figure's difference is beyond its
interval, and the pictures on which they answer most differently.
"""
