"""The stages, each a plain function: model folder + its section of the recipe -> model folder."""
