"""What a bundle is for: opened, run on a person's pictures, its answers printed and drawn."""
