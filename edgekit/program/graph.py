"""A Paddle inference program in memory: the protobuf, its parameters, and ways to walk and edit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from edgekit.errors import EdgekitError
from edgekit.program import parameters
from edgekit.program.parameters import Array
from edgekit.program.proto import pb

Op = Any  # pb.OpDesc
CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
AttrValue = bool | int | float | str | list[int] | list[float] | list[str] | list[bool]


def inputs(op: Op, slot: str | None = None) -> list[str]:
    """Names of the tensors that `op` reads (in `slot`, or in all of them)."""
    return [name for s in op.inputs if slot in (None, s.parameter) for name in s.arguments]


def outputs(op: Op, slot: str | None = None) -> list[str]:
    return [name for s in op.outputs if slot in (None, s.parameter) for name in s.arguments]


def set_slot(slots: Any, name: str, arguments: list[str]) -> None:
    """Set one input or output slot of an op, adding it where it is not there."""
    for slot in slots:
        if slot.parameter == name:
            del slot.arguments[:]
            slot.arguments.extend(arguments)
            return
    slot = slots.add()
    slot.parameter = name
    slot.arguments.extend(arguments)


def attr(op: Op, name: str, default: Any = None) -> Any:
    for a in op.attrs:
        if a.name == name:
            match a.type:
                case pb.INT:
                    return a.i
                case pb.FLOAT:
                    return a.f
                case pb.STRING:
                    return a.s
                case pb.BOOLEAN:
                    return a.b
                case pb.LONG:
                    return a.l
                case pb.INTS:
                    return list(a.ints)
                case pb.FLOATS:
                    return list(a.floats)
                case pb.LONGS:
                    return list(a.longs)
                case pb.STRINGS:
                    return list(a.strings)
                case pb.BOOLEANS:
                    return list(a.bools)
    return default


def set_attr(op: Op, name: str, value: AttrValue) -> None:
    """Set an attribute; its protobuf type follows the Python type (int -> INT, list[int] -> INTS, ...)."""
    found = next((a for a in op.attrs if a.name == name), None)
    a = found if found is not None else op.attrs.add()
    keep = a.type if found is not None else None
    a.Clear()
    a.name = name
    if isinstance(value, bool):
        a.type, a.b = pb.BOOLEAN, value
    elif isinstance(value, int):
        if keep == pb.LONG:
            a.type, a.l = pb.LONG, value
        else:
            a.type, a.i = pb.INT, value
    elif isinstance(value, float):
        a.type, a.f = pb.FLOAT, value
    elif isinstance(value, str):
        a.type, a.s = pb.STRING, value
    elif value and isinstance(value[0], str):
        a.type = pb.STRINGS
        a.strings.extend(value)
    elif value and isinstance(value[0], float):
        a.type = pb.FLOATS
        a.floats.extend(value)
    else:
        a.type = pb.INTS
        a.ints.extend(value)


@dataclass
class Program:
    """One inference program (a single block) and its parameters.

    `typical`: shapes of inputs with free sides, at which costs are counted.
    """

    desc: Any  # pb.ProgramDesc
    params: dict[str, Array]
    typical: dict[str, list[int]] = field(default_factory=dict)

    @property
    def block(self) -> Any:
        return self.desc.blocks[0]

    @property
    def ops(self) -> list[Op]:
        return list(self.block.ops)

    @property
    def feeds(self) -> list[str]:
        found = [(attr(op, "col", 0), outputs(op)[0]) for op in self.block.ops if op.type == "feed"]
        return [name for _, name in sorted(found)]

    @property
    def fetches(self) -> list[str]:
        found = [(attr(op, "col", 0), inputs(op)[0]) for op in self.block.ops if op.type == "fetch"]
        return [name for _, name in sorted(found)]

    def var(self, name: str) -> Any:
        for v in self.block.vars:
            if v.name == name:
                return v
        raise KeyError(name)

    def shape(self, name: str) -> list[int]:
        return list(self.var(name).type.lod_tensor.tensor.dims)

    def producers(self) -> dict[str, Op]:
        return {name: op for op in self.block.ops for name in outputs(op)}

    def consumers(self) -> dict[str, list[Op]]:
        found: dict[str, list[Op]] = {}
        for op in self.block.ops:
            for name in dict.fromkeys(inputs(op)):
                found.setdefault(name, []).append(op)
        return found

    def copy(self) -> Program:
        desc = pb.ProgramDesc()
        desc.CopyFrom(self.desc)
        return Program(desc, dict(self.params), self.typical)

    def add_var(self, name: str, shape: Iterable[int], dtype: Any = np.float32) -> None:
        """Declare a tensor (not a parameter); free dimensions are -1."""
        v = self.block.vars.add()
        v.name = name
        v.type.type = pb.VarType.LOD_TENSOR
        v.type.lod_tensor.tensor.data_type = parameters.dtype_code(dtype)
        v.type.lod_tensor.tensor.dims.extend(int(d) for d in shape)
        v.type.lod_tensor.lod_level = 0

    def set_param(self, name: str, value: Array) -> None:
        """Add a parameter, or replace one (shape and dtype may change)."""
        if not any(v.name == name for v in self.block.vars):
            self.add_var(name, value.shape, value.dtype)
        v = self.var(name)
        v.persistable = True
        tensor = v.type.lod_tensor.tensor
        tensor.data_type = parameters.dtype_code(value.dtype)
        del tensor.dims[:]
        tensor.dims.extend(value.shape)
        self.params[name] = value

    def replace_ops(self, ops: Iterable[Op]) -> None:
        """Set the list of ops. `ops` may hold ops of this program and newly made ones."""
        fresh = []
        for op in ops:
            kept = pb.OpDesc()
            kept.CopyFrom(op)
            fresh.append(kept)
        del self.block.ops[:]
        self.block.ops.extend(fresh)


def make_op(
    kind: str,
    ins: dict[str, list[str]],
    outs: dict[str, list[str]],
    attrs: Mapping[str, AttrValue] | None = None,
) -> Op:
    op = pb.OpDesc()
    op.type = kind
    for slot, names in ins.items():
        set_slot(op.inputs, slot, names)
    for slot, names in outs.items():
        set_slot(op.outputs, slot, names)
    for name, value in (attrs or {}).items():
        set_attr(op, name, value)
    return op


def persistable_names(desc: Any) -> list[str]:
    """The parameters in the order of the combined file: sorted, as `save_inference_model` writes them."""
    skip = {pb.VarType.FEED_MINIBATCH, pb.VarType.FETCH_LIST, pb.VarType.READER, pb.VarType.RAW}
    return sorted(v.name for v in desc.blocks[0].vars if v.persistable and v.type.type not in skip)


def locate(model: Path) -> tuple[Path, Path]:
    """The program and parameter file of a folder or of a bare `X.pdmodel`.

    Folders may follow any of Paddle's namings: `inference.pdmodel` (Clas, OCR), `model.pdmodel`
    (Detection), `__model__` + `__params__` (old), or one pair of another name.
    Raises EK401 when there is none or more than one, EK405 for a Paddle 3 `inference.json`.
    """
    if model.is_dir():
        for stem in ("inference", "model"):
            if (model / f"{stem}.pdmodel").is_file():
                return _pair(model / f"{stem}.pdmodel")
        if (model / "__model__").is_file():
            if (model / "__params__").is_file():
                return model / "__model__", model / "__params__"
            raise EdgekitError("EK401", f"{model} has a __model__ without its __params__.")
        found = sorted(model.glob("*.pdmodel"))
        if len(found) == 1:
            return _pair(found[0])
        if found:
            names = ", ".join(f.name for f in found)
            raise EdgekitError("EK401", f"{model} has several programs ({names}): name one of them.")
        for stem in ("inference", "model"):
            if (model / f"{stem}.json").is_file():
                raise _paddle3(model / f"{stem}.json")
        raise EdgekitError("EK401", f"{model} holds no Paddle program (X.pdmodel with X.pdiparams).")
    if not model.exists():
        raise EdgekitError("EK401", f"{model} does not exist.")
    if model.suffix == ".json":
        raise _paddle3(model)
    return _pair(model)


def _pair(program: Path) -> tuple[Path, Path]:
    params = program.with_suffix(".pdiparams")
    if not params.is_file():
        raise EdgekitError("EK401", f"{program} has no {params.name} beside it.")
    return program, params


def _paddle3(path: Path) -> EdgekitError:
    return EdgekitError(
        "EK405",
        f"{path} is a Paddle 3 program (PIR), which Paddle Lite and PaddleSlim cannot read. Export the model "
        "again with the environment variable FLAGS_enable_pir_api=0 set (or with Paddle 2.6): that writes "
        "inference.pdmodel and inference.pdiparams.",
    )


def read(program: Path, params: Path, typical: dict[str, list[int]] | None = None) -> Program:
    """Read a pair of files. Raises EK404 when either cannot be read or they do not fit."""
    raw = program.read_bytes()
    desc = pb.ProgramDesc()
    try:
        desc.ParseFromString(raw)
    except (DecodeError, ValueError) as error:
        raise EdgekitError("EK404", f"{program} is not a Paddle program, or is damaged ({error}).") from error
    if not desc.blocks or not any(op.type == "feed" for op in desc.blocks[0].ops):
        raise EdgekitError(
            "EK404",
            f"{program} is not an inference program: it has no feed. Export it with paddle.jit.save or "
            "paddle.static.save_inference_model.",
        )
    if len(desc.blocks) > 1:
        raise EdgekitError(
            "EK404",
            f"{program} has control flow ({len(desc.blocks)} blocks), which edgekit cannot compress. "
            "Export it without while loops and conditions.",
        )
    values = parameters.read(params, persistable_names(desc))
    for name, value in values.items():
        declared = next(v for v in desc.blocks[0].vars if v.name == name).type.lod_tensor.tensor.dims
        # PaddleSlim saves scalars that it declares as [1]: the number of elements decides.
        if int(np.prod(list(declared), dtype=object)) != value.size:
            raise EdgekitError(
                "EK404",
                f"{params} does not belong to {program.name}: {name} has shape {list(value.shape)}, the "
                f"program says {list(declared)}.",
            )
    return Program(desc, values, typical or {})


def load(model: Path) -> Program:
    return read(*locate(model))


def write(program: Program, folder: Path, stem: str = "inference") -> None:
    """Write `stem.pdmodel` and `stem.pdiparams` into an existing folder."""
    (folder / f"{stem}.pdmodel").write_bytes(program.desc.SerializeToString(deterministic=True))
    parameters.write(folder / f"{stem}.pdiparams", program.params)
