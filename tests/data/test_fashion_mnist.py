"""Fashion-MNIST: the format, what may be wrong with the files, and the real package."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.cachedir import cache_dir
from edgekit.data import debian, fashion_mnist
from edgekit.errors import EdgekitError

FOLDER = "usr/share/datasets/fashion-mnist/"


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(bytes([0, 0, kind, values.ndim]) + sizes + values.tobytes(), mtime=0)


def made(count: int) -> dict[str, bytes]:
    rng = np.random.default_rng(count)
    files = {}
    for prefix, n in (("train", count), ("t10k", 2)):
        files[f"{prefix}-images-idx3-ubyte.gz"] = idx(rng.integers(0, 256, (n, 28, 28)).astype(np.uint8))
        files[f"{prefix}-labels-idx1-ubyte.gz"] = idx(rng.integers(0, 10, n).astype(np.uint8))
    return files


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Puts a package of these files where Debian's is; the list grows with each download."""

    def put(files: dict[str, bytes], pinned: dict[str, bytes] | None = None) -> list[int]:
        downloads: list[int] = []

        def unpack(wanted: dict, parent: Path, take: Callable[..., None], log: object) -> dict[str, str]:
            downloads.append(len(downloads))
            for name, data in files.items():
                take("dataset-fashion-mnist", FOLDER + name, data)
            take("dataset-fashion-mnist", "usr/share/doc/t10k-labels-idx1-ubyte.gz", b"elsewhere")
            return dict.fromkeys(wanted, "1.0")

        known = {name: hashlib.sha256(data).hexdigest() for name, data in (pinned or files).items()}
        monkeypatch.setattr(debian, "unpack", unpack)
        monkeypatch.setattr(fashion_mnist, "SHA256", known)
        return downloads

    return put


def fails(split: str, cache: Path, offline: bool = False) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        fashion_mnist.load(split, cache, offline, print)
    return caught.value


def test_both_splits_are_downloaded_once(package: Callable[..., list[int]], tmp_path: Path) -> None:
    downloads = package(made(5))
    training = fashion_mnist.load("training", tmp_path, False, print)
    assert training.images.shape == (5, 28, 28) and training.labels.shape == (5,)
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(training.images, rng.integers(0, 256, (5, 28, 28)))
    np.testing.assert_array_equal(training.labels, rng.integers(0, 10, 5))
    assert len(fashion_mnist.load("evaluation", tmp_path, True, print).labels) == 2
    assert len(downloads) == 1


def test_offline_without_a_cache(package: Callable[..., list[int]], tmp_path: Path) -> None:
    downloads = package(made(5))
    error = fails("training", tmp_path, offline=True)
    assert error.code == "EK403" and "offline" in error.message and not downloads


def test_other_contents_than_published(package: Callable[..., list[int]], tmp_path: Path) -> None:
    package(made(6), pinned=made(5))
    error = fails("training", tmp_path)
    assert error.code == "EK402" and "train-images-idx3-ubyte.gz" in error.message
    assert not list((tmp_path / "data").glob("fashion*"))


def test_a_package_that_lacks_a_file(package: Callable[..., list[int]], tmp_path: Path) -> None:
    files = made(5)
    package({name: files[name] for name in list(files)[:3]}, pinned=files)
    error = fails("evaluation", tmp_path)
    assert error.code == "EK403" and "1.0 lacks t10k-labels-idx1-ubyte.gz" in error.message


@pytest.mark.parametrize("labels", [np.zeros(4, np.uint8), np.full(5, 10, np.uint8)])
def test_labels_that_do_not_fit(
    package: Callable[..., list[int]], tmp_path: Path, labels: np.ndarray
) -> None:
    package({**made(5), "train-labels-idx1-ubyte.gz": idx(labels)})
    assert fails("training", tmp_path).code == "EK408"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"plain", "damaged"),
        (idx(np.zeros((2, 3), np.uint8))[:-9], "damaged"),
        (gzip.compress(b"\0\0", mtime=0), "no idx file"),
        (idx(np.zeros(2, np.float32), kind=13), "no idx file"),
        (gzip.compress(b"\0\0\x08\x02\0\0\0\x02", mtime=0), "damaged"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x04abc", mtime=0), "truncated"),
        (gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xffabc", mtime=0), "truncated"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.gz").write_bytes(data)
    with pytest.raises(EdgekitError, match=said) as caught:
        fashion_mnist.read_idx(tmp_path / "x.gz")
    assert caught.value.code == "EK408"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="does not exist") as caught:
        fashion_mnist.read_idx(tmp_path / "x.gz")
    assert caught.value.code == "EK401"


@pytest.mark.network
def test_the_real_package() -> None:
    training = fashion_mnist.load("training", cache_dir(), False, print)
    evaluation = fashion_mnist.load("evaluation", cache_dir(), False, print)
    assert training.images.shape == (60000, 28, 28) and evaluation.images.shape == (10000, 28, 28)
    assert (np.bincount(training.labels) == 6000).all() and (np.bincount(evaluation.labels) == 1000).all()
    assert fashion_mnist.CLASSES[training.labels[0]] == "Ankle boot"
    assert 70 < training.images.mean() < 76
