"""ARM without a board: a cross compiler, an emulator and the C++ runner, set up without root, kept in the cache."""
