"""distil: a pruned model folder learns, without labels, to answer like the float one it came from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit import cpu
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder, Preprocess
from edgekit.program import edit, graph
from edgekit.recipe import Distil, Pact
from edgekit.tasks import evaluate
from edgekit.tasks.preprocessing import preprocess
from edgekit.training import distil as training
from edgekit.training import losses, settled, trainable
from edgekit.training.distil import Examples, Settings

_COMPARED = 4  # pictures on which the student's layers are held against the teacher's
HELD_OUT = 10  # every tenth picture chooses the checkpoint and teaches nothing


class _Pictures(Sequence[NDArray[np.float32]]):
    """Pre-processed pictures, read when they are asked for: hundreds do not fit into memory.

    Training needs one size: of a long line of text or a large page there is a part, not always the beginning;
    a smaller page is filled up with zeros on the right and below, as in PaddleOCR's training.
    """

    def __init__(self, paths: list[Path], how: Preprocess) -> None:
        self.paths, self.how = paths, how

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int) -> NDArray[np.float32]:  # type: ignore[override]
        picture = preprocess(read_image(self.paths[k]), self.how)
        resize = self.how.resize
        if not any(side.is_free for side in self.how.sides):
            return picture
        rng, spare = np.random.default_rng(k), np.asarray(picture.shape[1:]) - (resize.height, resize.width)
        picture = np.pad(picture, ((0, 0), *((0, max(0, -int(missing))) for missing in spare)))
        left, top = (int(rng.integers(more + 1)) for more in np.maximum(spare, 0)[::-1])
        part = picture[:, top : top + resize.height, left : left + resize.width]
        return np.ascontiguousarray(part)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[k] for k in range(len(self)))


def run(
    model: ModelFolder,
    teacher: ModelFolder,
    section: Distil,
    images: ImageSet,
    labels: Path | None,
    work: Path,
    out: Path,
    progress: Progress,
) -> str:
    """`work` keeps the teacher's answers and checkpoints: a run that was killed goes on from there."""
    student = edit.fold_batch_norm(model.read())
    original = edit.fold_batch_norm(teacher.read())
    train, unseen = examples(model, images, labels)
    how = settings(section)
    work.mkdir(parents=True, exist_ok=True)
    weights = settled.unsettled(student, original, [train.pictures[k] for k in range(_COMPARED)])
    done = training.distil(
        student, original, train, unseen, how, losses_of(model), work, progress, weights=weights
    )
    graph.write(done.program, out)
    entry = {
        "stage": "distil",
        **section.model_dump(mode="json"),
        "threads": how.threads,
        "weights": [len(weights), len(trainable.weights(student))],  # trained, of so many
        "seconds": done.seconds,
        "loss_before": done.start_loss,
        "loss_after": done.best_loss,
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    shutil.rmtree(work, ignore_errors=True)
    return (
        f"held-out loss {done.start_loss:.4g} -> {done.best_loss:.4g} on {len(images.paths)} pictures in "
        f"{done.seconds / 60:.1f} minutes ({done.pictures_per_second:.1f} pictures/s)"
    )


def examples(model: ModelFolder, images: ImageSet, labels: Path | None) -> tuple[Examples, Examples]:
    """Pictures to learn from, and every `HELD_OUT`th to choose the checkpoint. Raises EK407 for too few."""
    if len(images.paths) < 2 * HELD_OUT:
        raise EdgekitError("EK407", f"Distillation needs {2 * HELD_OUT} pictures, found {len(images.paths)}.")
    classes = evaluate.class_labels(labels, [p.name for p in images.paths]) if labels is not None else None

    def some(held_out: bool) -> Examples:
        chosen = [k for k in range(len(images.paths)) if (k % HELD_OUT == HELD_OUT - 1) == held_out]
        pictures = _Pictures([images.paths[k] for k in chosen], model.info.preprocess)
        own = classes[chosen] if classes is not None else None
        return Examples(pictures, f"{images.digest}/{held_out}", own)

    return some(False), some(True)


def settings(section: Distil | Pact) -> Settings:
    return Settings(
        minutes=section.minutes,
        batch=section.batch,
        optimizer=section.optimizer,
        rate=section.learning_rate,
        seed=section.seed,
        threads=cpu.cores(),
    )


def losses_of(model: ModelFolder) -> dict[str, str]:
    """The loss of each raw output, by the task."""
    post = model.info.postprocess
    return {getattr(post, role): name for role, name in losses.DEFAULTS[model.info.task].items()}
