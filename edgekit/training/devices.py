"""Several processes that train one student, as `python -m paddle.distributed.launch` starts them.

Paddle's gloo averages the gradients, on CPUs: that is what the pinned Paddle is made for. Start them with
PADDLE_DISTRI_BACKEND=gloo. Paddle's fleet is not used: that of 2.6.2 fails with the pinned protobuf
("FieldDescriptor has no attribute label").
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any


def count() -> int:
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def rank() -> int:
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


@cache
def join() -> None:
    """Wait for the other processes, once; nothing where there is only one."""
    import paddle

    if count() > 1:
        meeting = os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")[0]
        paddle.distributed.gloo_init_parallel_env(rank(), count(), meeting)


def barrier() -> None:
    """Wait until all processes are here."""
    import paddle

    if count() > 1:
        paddle.distributed.gloo_barrier()


def mean(gradient: Any) -> Any:
    """Append to the static program: the mean of a gradient over the processes."""
    import paddle

    if count() == 1:
        return gradient
    paddle.distributed.all_reduce(gradient)
    return gradient / count()
