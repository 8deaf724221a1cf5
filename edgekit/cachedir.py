"""Where downloads and the results of stages are kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """`EDGEKIT_CACHE`, else `edgekit` in the platform's cache folder of the user. It need not exist yet."""
    own = os.environ.get("EDGEKIT_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "edgekit"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "edgekit" / "Cache"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification wants a relative path ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "edgekit"
