"""What the processor is, as far as int8 cares."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# What kernels for float and int8 choose by, on x86 and on ARM.
FEATURES = frozenset(
    (
        "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni",
        "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve",
    )
)  # fmt: skip


def flags() -> set[str]:
    """The feature flags of the first processor; empty where /proc/cpuinfo does not tell."""
    return set(_field("flags", "Features").split())


def model() -> str:
    return _field("model name", "Model") or platform.processor() or platform.machine()


def has_vnni() -> bool:
    """Whether x86 has instructions for dot products of uint8 and int8 (AVX512-VNNI or AVX-VNNI)."""
    return bool(flags() & {"avx512_vnni", "avx_vnni"})


def slow_int8() -> bool:
    """Whether int8 runs on kernels much slower than those of ARM and newer x86, at the same answers."""
    return platform.machine() in ("x86_64", "AMD64") and not has_vnni()


NO_VNNI = (
    "this processor has no VNNI: int8 ran on ONNX Runtime's slower exact kernels, so its answers are those "
    "of ARM and of newer x86, its times are not"
)

_SHOWN = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI",
    "asimddp": "dot product", "i8mm": "i8mm", "sve": "SVE",
}  # fmt: skip


def described() -> str:
    """One line: the processor, its cores, and which of its features int8 runs on."""
    has = flags()
    features = " ".join(name for flag, name in _SHOWN.items() if flag in has)
    return ", ".join(part for part in (model(), f"{cores()} cores", features) if part)


def cores() -> int:
    """How many this process may use; macOS cannot tell and counts all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _field(*names: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""
