"""Programs written down op by op: what a test is about, and nothing else, and without Paddle's exporter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.program import cost, edit
from edgekit.program.graph import AttrValue, Program, make_op, set_slot
from edgekit.program.proto import pb
from tests.program import nets as shared

Array = npt.NDArray[np.float32]


class Net:
    """Layers are called in order and return the name of what they make; weights are random and seeded."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        desc = pb.ProgramDesc()
        block = desc.blocks.add()
        block.idx, block.parent_idx = 0, -1
        for name, kind in (("feed", pb.VarType.FEED_MINIBATCH), ("fetch", pb.VarType.FETCH_LIST)):
            holder = block.vars.add()
            holder.name, holder.persistable = name, True
            holder.type.type = kind
        self.program = Program(desc, {})
        self.program.add_var("x", [-1, *shape])
        self.ops = [make_op("feed", {"X": ["feed"]}, {"Out": ["x"]}, {"col": 0})]

    def param(self, name: str, *shape: int) -> str:
        self.program.set_param(name, (self.rng.normal(size=shape) / 2).astype(np.float32))
        return name

    def op(
        self,
        kind: str,
        ins: Mapping[str, Any],
        attrs: Mapping[str, AttrValue] | None = None,
        out: str | None = None,
        slot: str = "Out",
    ) -> str:
        name = out or f"{kind}_{len(self.ops)}"
        self.program.add_var(name, [])
        listed = {key: [value] if isinstance(value, str) else value for key, value in ins.items()}
        self.ops.append(make_op(kind, listed, {slot: [name]}, attrs))
        return name

    def add(self, x: str, y: str, axis: int = -1, kind: str = "add", out: str | None = None) -> str:
        return self.op(f"elementwise_{kind}", {"X": x, "Y": y}, {"axis": axis}, out)

    def relu(self, x: str) -> str:
        return self.op("relu", {"X": x})

    def conv(
        self, name: str, x: str, i: int, o: int, k: int = 1, *, pad: int = 0, groups: int = 1,
        bias: bool = True, stride: int = 1, **attrs: AttrValue,
    ) -> str:  # fmt: skip
        """Weight `name.w_0` and, added after, bias `name.b_0`; the answer before it is `name.raw`."""
        given = {
            "strides": [stride, stride], "paddings": [pad, pad], "dilations": [1, 1], "groups": groups,
            "padding_algorithm": "EXPLICIT", "data_format": "NCHW", **attrs,
        }  # fmt: skip
        kind = "depthwise_conv2d" if groups == i > 1 else "conv2d"
        weight = self.param(f"{name}.w_0", o, i // groups, k, k)
        raw = self.op(kind, {"Input": x, "Filter": weight}, given, f"{name}.raw", "Output")
        return self.add(raw, self.param(f"{name}.b_0", o), 1, out=name) if bias else raw

    def transposed(
        self, name: str, x: str, i: int, o: int, k: int = 2, *, bias: bool = False, stride: int = 2,
        **attrs: AttrValue,
    ) -> str:  # fmt: skip
        given = {
            "strides": [stride, stride], "paddings": [0, 0], "dilations": [1, 1], "groups": 1,
            "padding_algorithm": "EXPLICIT", "data_format": "NCHW", **attrs,
        }  # fmt: skip
        weight = self.param(f"{name}.w_0", i, o, k, k)
        raw = self.op("conv2d_transpose", {"Input": x, "Filter": weight}, given, f"{name}.raw", "Output")
        return self.add(raw, self.param(f"{name}.b_0", o), 1, out=name) if bias else raw

    def linear(self, name: str, x: str, i: int, o: int, *, turned: bool = False, bias: bool = True) -> str:
        weight = self.param(f"{name}.w_0", *((o, i) if turned else (i, o)))
        raw = self.op(
            "matmul_v2", {"X": x, "Y": weight}, {"trans_x": False, "trans_y": turned}, f"{name}.raw"
        )
        return self.add(raw, self.param(f"{name}.b_0", o), out=name) if bias else raw

    def norm(self, name: str, x: str, channels: int) -> str:
        """A batch norm with any statistics."""
        mean = self.param(f"{name}.mean", channels)
        variance = self.param(f"{name}.variance", channels)
        self.program.set_param(variance, np.abs(self.program.params[variance]) + 0.5)
        ins = {
            "X": x, "Mean": mean, "Variance": variance,
            "Scale": self.param(f"{name}.scale", channels), "Bias": self.param(f"{name}.bias", channels),
        }  # fmt: skip
        out = self.op("batch_norm", ins, {"is_test": True, "epsilon": 1e-5, "data_layout": "NCHW"}, slot="Y")
        for slot, same in (("MeanOut", mean), ("VarianceOut", variance)):
            set_slot(self.ops[-1].outputs, slot, [same])
        for slot in ("SavedMean", "SavedVariance"):
            self.program.add_var(f"{name}.{slot}", [channels])
            set_slot(self.ops[-1].outputs, slot, [f"{name}.{slot}"])
        return out

    def pooled(self, x: str, channels: int) -> str:
        """Averages as [N, channels]."""
        attrs: dict[str, AttrValue] = {"pooling_type": "avg", "ksize": [1, 1], "adaptive": True}
        pool = self.op("pool2d", {"X": x}, attrs)
        return self.op("reshape2", {"X": pool}, {"shape": [-1, channels]})

    def done(self, *fetches: str) -> Program:
        for column, name in enumerate(fetches):
            self.ops.append(make_op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": column}))
        self.program.replace_ops(self.ops)
        cost.infer_shapes(self.program)
        return self.program


def pictures(count: int, *shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def values(program: Program, images: Array, *names: str) -> dict[str, Array]:
    """Tensors of the program (its outputs, when none is named) as Paddle computes them."""
    part = edit.cut(program, {name: name for name in names}) if names else program
    with TemporaryDirectory() as scratch:
        return shared.run(part, Path(scratch), [{program.feeds[0]: images}])[0]
