"""ARM without a board: cross compiler, emulator and C++ runner, set up without root, kept in the cache."""
