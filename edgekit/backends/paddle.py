"""Paddle's own inference engine on CPU: the reference that every other backend is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError

Arrays = dict[str, npt.NDArray[np.float32]]
Run = Callable[[Arrays], Arrays]


def load(program: Path, parameters: Path, *, optimise: bool = True, threads: int = 2) -> Run:
    """A function from inputs to outputs, float32 arrays keyed by the names of the program's tensors.

    `optimise=False` runs the ops exactly as written, which a simulation of int8 needs: Paddle's graph
    passes rewrite quantize_linear. One program runs at a time: in two threads Paddle's oneDNN has crashed.
    Raises EK501 when Paddle cannot load or run the program.
    """
    import paddle.inference as engine

    from edgekit.program import graph

    fetches = graph.read(program, parameters).fetches
    config = engine.Config(str(program), str(parameters))
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    config.switch_ir_optim(optimise)
    try:
        predictor = engine.create_predictor(config)
    except (RuntimeError, ValueError, OSError, SystemError) as error:
        raise EdgekitError("EK501", f"Paddle cannot load {program}: {_short(error)}") from error
    names = predictor.get_output_names()
    # Paddle names outputs after its fetch ops in their order; the program's own names are the contract.
    keys = dict(zip(names, fetches, strict=True)) if set(names) != set(fetches) else {n: n for n in names}

    def run(feed: Arrays) -> Arrays:
        try:
            for name in predictor.get_input_names():
                predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(feed[name]))
            predictor.run()
            return {keys[name]: predictor.get_output_handle(name).copy_to_cpu() for name in names}
        except (RuntimeError, ValueError, SystemError) as error:
            raise EdgekitError("EK501", f"Paddle failed to run {program}: {_short(error)}") from error

    return run


def _short(error: Exception) -> str:
    from edgekit.backends.child import last_words

    return last_words(str(error))
