"""Files and pictures: hash-pinned sources, the user's own picture folders, composed scenes."""
