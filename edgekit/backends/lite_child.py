"""The child process that loads Paddle Lite. Not imported by edgekit itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def opt(program: str, parameters: str, target: str, out: str) -> None:
    from paddlelite import lite

    made = lite.Opt()
    made.set_model_file(program)
    made.set_param_file(parameters)
    made.set_valid_places(target)
    made.set_model_type("naive_buffer")
    made.set_optimize_out(out)
    made.run()


def run(model: str, folder: str, count: int) -> None:
    from paddlelite import lite

    config = lite.MobileConfig()
    config.set_model_from_file(model)
    known: list[tuple[int, ...]] = []
    for k in range(count):
        with np.load(Path(folder) / f"in{k}.npz") as feed:
            shapes = [feed[name].shape for name in feed.files]
            # On x86 a predictor that has run answers nonsense for inputs of another shape, or crashes.
            if shapes != known:
                known, predictor = shapes, lite.create_paddle_predictor(config)
            for i, name in enumerate(predictor.get_input_names()):
                predictor.get_input(i).from_numpy(np.ascontiguousarray(feed[name]))
        predictor.run()
        outputs = predictor.get_output_names()
        # numpy() is a view into the predictor's memory: copy before it is reused.
        values = {f"o{i}": predictor.get_output(i).numpy().copy() for i in range(len(outputs))}
        np.savez(Path(folder) / f"out{k}.npz", **values)


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    if sys.argv[1] == "opt":
        opt(*given)
    else:
        run(*given)
