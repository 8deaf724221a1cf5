"""How far a program agrees with the float one, by the task's own metrics, on pictures without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.calibration import judging
from edgekit.calibration.judging import Reference
from edgekit.calibration.moments import passes
from edgekit.calibration.readers import Floats
from edgekit.data.images import read_image
from edgekit.folder import ModelInfo
from edgekit.program.graph import Program
from edgekit.tasks import evaluate
from edgekit.tasks.evaluate import Answer, Metrics
from edgekit.tasks.preprocessing import preprocess


@dataclass(frozen=True)
class Picture:
    tensor: Floats  # [3, height, width], as the network wants it
    size: tuple[int, int]  # height and width of the picture itself


def picture(path: Path, info: ModelInfo) -> Picture:
    image = read_image(path)
    return Picture(preprocess(image, info.preprocess), (image.shape[0], image.shape[1]))


class Agreement:
    """Keeps the float program's answers for some pictures."""

    def __init__(self, info: ModelInfo, original: Program, pictures: Sequence[Picture]) -> None:
        self.info, self.pictures = info, pictures
        self.raw, self.fetches = judging.raw_outputs(original), original.fetches
        floats, self.wanted = self._answered(original, True)
        self.reference = [Reference(values, evaluate.importance(info, values)) for values in floats]

    def measure(self, program: Program) -> tuple[float, Metrics]:
        """The error of the raw outputs over their variance, and `evaluate.compare`'s metrics.

        `program` may have quantize_linear: Paddle runs it as it is written.
        """
        values, answers = self._answered(program, False)
        return judging.loss(self.reference, values), evaluate.compare(self.info, self.wanted, answers)

    def _answered(self, program: Program, optimise: bool) -> tuple[list[dict[str, Floats]], list[Answer]]:
        values, answers = [], []
        tensors = [each.tensor for each in self.pictures]
        for start, batch in passes(program, [*self.raw, *self.fetches], tensors, optimise=optimise):
            values.append({name: batch[name] for name in self.raw})
            for k in range(len(batch[self.fetches[0]])):
                one = {name: batch[name][k : k + 1] for name in self.fetches}
                answers.append(evaluate.answers(self.info, one, self.pictures[start + k].size))
        return values, answers
