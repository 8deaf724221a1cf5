"""Paddle's own protobuf classes for programs (`framework.proto`)."""

from __future__ import annotations

from typing import Any

from paddle.base.proto import framework_pb2

# The generated module carries no types; one Any here keeps the rest of the package strict.
pb: Any = framework_pb2
