"""MSE threshold: the clip at which int8 rounding and clipping together lose least.

Nagel et al., "A White Paper on Neural Network Quantization" (2021), section 3.1, on a histogram of |x|.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEVELS = 127
_CANDIDATES = 200


def threshold(histogram: npt.NDArray[np.int64], bin_width: float) -> float:
    """The threshold, in the unit of `bin_width`, for a histogram of |x| that starts at 0.

    Each bin stands for its centre. `histogram`: int [bins], not empty.
    """
    counts = histogram.astype(np.float64)
    centres = (np.arange(counts.size) + 0.5) * bin_width
    clips = np.linspace(counts.size / _CANDIDATES, counts.size, _CANDIDATES) * bin_width
    steps = clips[:, None] / LEVELS
    rounded = np.minimum(np.rint(centres[None] / steps), LEVELS) * steps
    errors = ((rounded - centres[None]) ** 2) @ counts
    return float(clips[int(np.argmin(errors))])
