"""Fashion-MNIST (Xiao et al. 2017) out of a Debian package: real pictures, few enough to train on a CPU."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekit.data import debian
from edgekit.data.files import build_once, write_bytes
from edgekit.data.sources import Log
from edgekit.errors import EdgekitError

PACKAGE = "dataset-fashion-mnist"
_FOLDER = "usr/share/datasets/fashion-mnist/"
SIDE = 28

# The files as Zalando published them: the same in every release of the package.
SHA256 = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_PREFIX = {"training": "train", "evaluation": "t10k"}
_UNSIGNED_BYTE = 8  # the idx format's code of the only type that these files have


@dataclass(frozen=True)
class Pictures:
    """Grey pictures uint8 [n, 28, 28], dark ground, and labels uint8 [n], numbers of `CLASSES`."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


def load(split: Literal["training", "evaluation"], cache: Path, offline: bool, log: Log) -> Pictures:
    """60 000 pictures to train on, or 10 000 to evaluate with; from the cache or from Debian (31 MB, once).

    Raises EK403 when they are not cached and the package cannot be had or lacks a file, EK402 when a file
    is not the published one.
    """

    def make(folder: Path) -> None:
        if offline:
            raise EdgekitError("EK403", "Fashion-MNIST is not in the cache, and it is offline.")
        _fill(folder, cache, log)

    root = build_once(cache / "data" / "fashion-mnist-1", make, log)
    images = read_idx(root / f"{_PREFIX[split]}-images-idx3-ubyte.gz")
    labels = read_idx(root / f"{_PREFIX[split]}-labels-idx1-ubyte.gz")
    if images.shape != (len(labels), SIDE, SIDE) or not (labels < len(CLASSES)).all():
        raise EdgekitError(
            "EK408",
            f"Pictures of shape {images.shape} do not belong to labels of shape {labels.shape} up to "
            f"{labels.max(initial=0)}.",
        )
    return Pictures(images, labels)


def _fill(folder: Path, cache: Path, log: Log) -> None:
    def take(package: str, path: str, data: bytes) -> None:
        name = PurePosixPath(path).name
        if path != _FOLDER + name or name not in SHA256:
            return
        digest = hashlib.sha256(data).hexdigest()
        if digest != SHA256[name]:
            raise EdgekitError(
                "EK402",
                f"{name} of {package} has sha256 {digest}, expected {SHA256[name]}: it is not the data set.",
            )
        write_bytes(folder / name, data)

    versions = debian.unpack({PACKAGE: [_FOLDER]}, cache / "data", take, log)
    missing = [name for name in SHA256 if not (folder / name).is_file()]
    if missing:
        raise EdgekitError("EK403", f"{PACKAGE} {versions[PACKAGE]} lacks {', '.join(missing)}.")


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array in a gzipped idx file: two zero bytes, type, rank, big-endian sizes, data.

    Raises EK401 when there is no such file, EK408 when it is none of unsigned bytes, or damaged.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise EdgekitError("EK401", f"{path} does not exist.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise EdgekitError("EK408", f"{path} is damaged ({error}). Delete it and fetch it again.") from error
    if len(raw) < 4 or raw[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise EdgekitError(
            "EK408", f"{path} is no idx file of unsigned bytes: it begins with {raw[:4].hex()}."
        )
    start = 4 + 4 * raw[3]
    shape = [int.from_bytes(raw[k : k + 4], "big") for k in range(4, start, 4)]
    count = int(np.prod(shape, dtype=object))
    if len(raw) != start + count:
        raise EdgekitError(
            "EK408",
            f"{path} is truncated or damaged: {len(raw) - start} bytes of data for the shape {shape}.",
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
