"""Small seeded nets, one for each way in which channels of different layers hang together, and what the
tests of this room do with their programs.

Weights have Paddle's names in the order in which layers are made, which is how the tests name groups.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn
from paddle.nn import functional as F

from edgekit.program import cost, edit, graph
from edgekit.program.graph import Program
from edgekit.pruning import groups as grouping
from edgekit.pruning.groups import Group
from edgekit.pruning.trace import Trace, trace
from tests.program import nets as shared

SIDE = 16
Array = npt.NDArray[np.float32]


def conv(i: int, o: int, k: int = 1, stride: int = 1, groups: int = 1, act: Any = None) -> nn.Sequential:
    """Convolution without bias, batch norm, activation."""
    layers = [nn.Conv2D(i, o, k, stride, padding=k // 2, groups=groups, bias_attr=False), nn.BatchNorm2D(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class SE(nn.Layer):  # type: ignore[misc]
    """Squeeze and excitation, as PaddleClas has it."""

    def __init__(self, channels: int, gate: Any = nn.Hardsigmoid) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.conv1, self.relu = nn.Conv2D(channels, channels // 4, 1), nn.ReLU()
        self.conv2, self.gate = nn.Conv2D(channels // 4, channels, 1), gate()

    def forward(self, x: Any) -> Any:
        return x * self.gate(self.conv2(self.relu(self.conv1(self.pool(x)))))


def shuffle(x: Any, computed: bool = True) -> Any:
    """Two groups. `computed`: the batch size is read from the tensor, as PaddleClas writes it."""
    n, c, h, w = x.shape
    batch = n if computed else -1
    x = paddle.reshape(x, [batch, 2, c // 2, h, w])
    return paddle.reshape(paddle.transpose(x, [0, 2, 1, 3, 4]), [batch, c, h, w])


class Head(nn.Layer):  # type: ignore[misc]
    def __init__(self, channels: int, classes: int = 5) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2D(1), nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        return self.fc(paddle.flatten(self.pool(x), 1))


class Chain(nn.Layer):  # type: ignore[misc]
    """Convolutions one after another, one of them depthwise and one with a channel multiplier."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 8, 3, 2, act=nn.ReLU),
            conv(8, 8, 3, groups=8, act=nn.ReLU6),
            conv(8, 12, act=nn.Swish),
            conv(12, 24, 3, groups=12, act=nn.LeakyReLU),
            conv(24, 8, 3, act=nn.Hardswish),
        )
        self.head = Head(8)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x))


class Biases(nn.Layer):  # type: ignore[misc]
    """Convolutions with biases, with and without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2D(3, 8, 3, padding=1), nn.Conv2D(8, 12, 3, stride=2)
        self.bn, self.c = nn.BatchNorm2D(12), nn.Conv2D(12, 4, 1)

    def forward(self, x: Any) -> Any:
        return self.c(F.relu(self.bn(self.b(F.relu(self.a(x))))))


class Residuals(nn.Layer):  # type: ignore[misc]
    """An identity block after one with a shortcut of its own: all but the inner layers hang together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3, act=nn.ReLU)
        self.shortcut = conv(8, 16, 1, 2)
        self.blocks = nn.LayerList(
            [nn.Sequential(conv(i, 12, 3, s, act=nn.ReLU), conv(12, 16, 3)) for i, s in ((8, 2), (16, 1))]
        )
        self.head = Head(16)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = F.relu(self.shortcut(x) + self.blocks[0](x))
        return self.head(F.relu(x + self.blocks[1](x)))


class Squeezed(nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dw = conv(3, 16, 3, 2, act=nn.Hardswish), conv(16, 16, 5, groups=16, act=nn.Hardswish)
        self.se, self.pw, self.head = SE(16), conv(16, 12, act=nn.Hardswish), Head(12)

    def forward(self, x: Any) -> Any:
        return self.head(self.pw(self.se(self.dw(self.stem(x)))))


class Split1(nn.Layer):  # type: ignore[misc]
    """ESNet's block of stride 1: split, ghost-like concat, SE, concat, shuffle."""

    def __init__(self, channels: int, computed: bool = True) -> None:
        super().__init__()
        half = channels // 2
        self.pw_1_1 = conv(half, half, act=nn.Hardswish)
        self.dw_1 = conv(half, half, 3, groups=half)
        self.se, self.pw_1_2, self.computed = SE(channels), conv(channels, half, act=nn.Hardswish), computed

    def forward(self, x: Any) -> Any:
        left, right = paddle.split(x, [x.shape[1] // 2, x.shape[1] // 2], axis=1)
        right = self.pw_1_1(right)
        right = self.pw_1_2(self.se(paddle.concat([right, self.dw_1(right)], axis=1)))
        return shuffle(paddle.concat([left, right], axis=1), self.computed)


class Split2(nn.Layer):  # type: ignore[misc]
    """ESNet's block of stride 2: two branches, concat, depthwise, pointwise."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        half = o // 2
        self.dw_1, self.pw_1 = conv(i, i, 3, 2, groups=i), conv(i, half, act=nn.Hardswish)
        self.pw_2_1 = conv(i, half, act=nn.Hardswish)
        self.dw_2, self.se = conv(half, half, 3, 2, groups=half), SE(half)
        self.pw_2_2 = conv(half, half, act=nn.Hardswish)
        self.concat_dw, self.concat_pw = (
            conv(o, o, 3, groups=o, act=nn.Hardswish),
            conv(o, o, act=nn.Hardswish),
        )

    def forward(self, x: Any) -> Any:
        right = self.pw_2_2(self.se(self.dw_2(self.pw_2_1(x))))
        x = paddle.concat([self.pw_1(self.dw_1(x)), right], axis=1)
        return self.concat_pw(self.concat_dw(x))


class Shuffled(nn.Layer):  # type: ignore[misc]
    """ESNet's blocks; the shuffle's halves come from different layers, so that pruning makes them unequal."""

    def __init__(self, computed: bool = True) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3, act=nn.Hardswish)
        self.blocks = nn.Sequential(Split2(8, 16), Split1(16, computed), Split1(16, computed))
        self.last, self.head = conv(16, 12, act=nn.Hardswish), Head(12)

    def forward(self, x: Any) -> Any:
        return self.head(self.last(self.blocks(self.stem(x))))


class Neck(nn.Layer):  # type: ignore[misc]
    """Two levels of a CSP-PAN: upsampling, concat, a CSP stage, and down again; an answer for each level."""

    def __init__(self) -> None:
        super().__init__()
        self.c3, self.c4 = conv(3, 12, 3, 2, act=nn.LeakyReLU), conv(12, 16, 3, 2, act=nn.LeakyReLU)
        self.l3, self.l4 = conv(12, 8), conv(16, 8)
        self.top = nn.LayerList([conv(16, 6, act=nn.LeakyReLU) for _ in range(2)])
        self.top_inner = nn.Sequential(conv(6, 6, 3, groups=6), conv(6, 6))
        self.top_out = conv(12, 8, act=nn.LeakyReLU)
        self.down = nn.Sequential(conv(8, 8, 3, 2, groups=8), conv(8, 8))
        self.out = nn.LayerList([nn.Conv2D(8, 4, 1), nn.Conv2D(16, 4, 1)])

    def forward(self, x: Any) -> Any:
        c3 = self.c3(x)
        p3, p4 = self.l3(c3), self.l4(self.c4(c3))
        up = F.interpolate(p4, size=p3.shape[2:], mode="nearest")
        both = paddle.concat([up, p3], axis=1)
        one, two = (layer(both) for layer in self.top)
        p3 = self.top_out(paddle.concat([self.top_inner(one), two], axis=1))
        p4 = paddle.concat([self.down(p3), p4], axis=1)
        return self.out[0](p3), self.out[1](p4)


class Grouped(nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped = conv(3, 16, 3, 2, act=nn.ReLU), conv(16, 24, 3, groups=4, act=nn.ReLU)
        self.pw, self.head = conv(24, 8, act=nn.ReLU), Head(8)

    def forward(self, x: Any) -> Any:
        return self.head(self.pw(self.grouped(self.stem(x))))


class Transposed(nn.Layer):  # type: ignore[misc]
    """DB's head: two transposed convolutions, the second with one channel; a grouped one beside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3, 4, act=nn.ReLU)
        self.up1, self.bn = nn.Conv2DTranspose(8, 12, 2, stride=2), nn.BatchNorm2D(12)
        self.up2 = nn.Conv2DTranspose(12, 1, 2, stride=2)
        self.each = nn.Conv2DTranspose(12, 12, 4, stride=2, padding=1, groups=12, bias_attr=False)
        self.side = nn.Conv2D(12, 2, 1)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.bn(self.up1(self.stem(x))))
        return F.sigmoid(self.up2(x)), self.side(self.each(x))


class Flattened(nn.Layer):  # type: ignore[misc]
    """A linear layer that reads every channel at 4 x 4 places."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 8, 3, 2, act=nn.ReLU), conv(8, 6, 3, 2, act=nn.ReLU))
        self.fc1, self.fc2 = nn.Linear(6 * 16, 10), nn.Linear(10, 5)

    def forward(self, x: Any) -> Any:
        return self.fc2(F.relu(self.fc1(paddle.flatten(self.body(x), 1))))


class Reshaped(nn.Layer):  # type: ignore[misc]
    """Reshapes to shapes that hold the channel count, the batch size computed, and to [N, -1]."""

    def __init__(self, last: int = 8) -> None:
        super().__init__()
        self.stem, self.pool, self.last = conv(3, 8, 3, 2, act=nn.ReLU), nn.AdaptiveAvgPool2D(1), last
        self.mix, self.fc, self.rest = conv(8, 8, act=nn.ReLU), nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        x = self.mix(self.stem(x))
        x = self.fc(paddle.reshape(self.pool(x), [x.shape[0], self.last]))
        return self.rest(F.relu(x))


class Sliced(nn.Layer):  # type: ignore[misc]
    """Channels by number, also from the end; a channel that two slices share."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 12, 3, 2, act=nn.ReLU)
        self.left, self.right, self.head = conv(5, 8, 3), conv(8, 8, 3), Head(16)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        return self.head(F.relu(paddle.concat([self.left(x[:, :5]), self.right(x[:, -8:])], axis=1)))


class Averaged(nn.Layer):  # type: ignore[misc]
    """Pooling by mean over both sides, once keeping them and once not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = conv(3, 8, 3, 2, act=nn.ReLU), nn.Conv2D(8, 8, 1)
        self.pw, self.fc = conv(8, 12, act=nn.ReLU), nn.Linear(12, 5)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = self.pw(x * F.sigmoid(self.gate(paddle.mean(x, [2, 3], keepdim=True))))
        return self.fc(paddle.mean(x, [2, 3]))


class Tokens(nn.Layer):  # type: ignore[misc]
    """Features as tokens: layer norm over them, so that the layer before must keep its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pw = conv(3, 12, 3, 4, act=nn.ReLU), conv(12, 8)
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = paddle.transpose(paddle.flatten(self.pw(self.stem(x)), 2), [0, 2, 1])
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class Attention(nn.Layer):  # type: ignore[misc]
    """Self-attention with two heads, as SVTR has it, and an MLP, both with shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pw = conv(3, 12, 3, 4, act=nn.Swish), conv(12, 8)
        self.norm1, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = paddle.transpose(paddle.flatten(self.pw(self.stem(x)), 2), [0, 2, 1])
        qkv = self.qkv(self.norm1(x)).reshape([0, -1, 3, 2, 4]).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0] * 0.5, qkv[1], qkv[2]
        mixed = paddle.matmul(F.softmax(paddle.matmul(q, k.transpose([0, 1, 3, 2]))), v)
        x = x + self.proj(mixed.transpose([0, 2, 1, 3]).reshape([0, -1, 8]))
        return self.last(x + self.fc2(F.swish(self.fc1(self.norm2(x)))))


class Prelus(nn.Layer):  # type: ignore[misc]
    """One slope for each channel, and one for all."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.pa = conv(3, 8, 3, 2), nn.PReLU(8)
        self.b, self.pb, self.head = conv(8, 12, 3), nn.PReLU(1), Head(12)
        self.pa._weight.set_value(np.linspace(-0.5, 0.5, 8, dtype=np.float32))

    def forward(self, x: Any) -> Any:
        return self.head(self.pb(self.b(self.pa(self.a(x)))))


class Shared(nn.Layer):  # type: ignore[misc]
    """A head's convolutions read two levels: their weights are shared, batch norms are not."""

    def __init__(self) -> None:
        super().__init__()
        self.c3, self.c4 = conv(3, 8, 3, 2, act=nn.ReLU), conv(8, 8, 3, 2, act=nn.ReLU)
        self.tower, self.out = nn.Conv2D(8, 12, 3, padding=1, bias_attr=False), nn.Conv2D(12, 4, 1)
        self.norms = nn.LayerList([nn.BatchNorm2D(12) for _ in range(2)])

    def forward(self, x: Any) -> Any:
        c3 = self.c3(x)
        levels = (c3, self.c4(c3))
        return tuple(self.out(F.relu(self.norms[k](self.tower(levels[k])))) for k in range(2))


class Gated(nn.Layer):  # type: ignore[misc]
    """Broadcasts: [N, C, 1, 1] on either side, a map [N, 1, H, W], a scalar, and a parameter [1, C, 1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.vector = conv(3, 8, 3, 2, act=nn.ReLU), nn.Conv2D(8, 8, 1, bias_attr=False)
        self.map, self.pw, self.head = conv(8, 1, 3), conv(8, 12, act=nn.ReLU), Head(12)
        uniform = nn.initializer.Uniform(0.5, 1.5)
        self.scale = self.create_parameter([1, 8, 1, 1], default_initializer=uniform)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        vector = F.sigmoid(self.vector(F.adaptive_avg_pool2d(x, 1)))
        x = vector * x - vector
        return self.head(self.pw(x * F.sigmoid(self.map(x)) * self.scale * 2.0 + 0.5))


class Matmuls(nn.Layer):  # type: ignore[misc]
    """Weights to the right, turned, and to the left of what they multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3, 4, act=nn.ReLU)
        self.fc, self.turned = nn.Linear(8, 12), self.create_parameter([10, 12])
        self.left, self.last = self.create_parameter([6, 16]), nn.Linear(10, 5)

    def forward(self, x: Any) -> Any:
        x = paddle.transpose(paddle.flatten(self.stem(x), 2), [0, 2, 1])
        x = F.relu(paddle.matmul(F.relu(self.fc(x)), self.turned, transpose_y=True))
        return self.last(F.relu(paddle.matmul(self.left, x)))


class Consumers(nn.Layer):  # type: ignore[misc]
    """One layer's channels are read by a convolution, a pool with a concat, and an answer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 8, 3, 2, act=nn.ReLU), conv(8, 12, 3, 2), nn.Conv2D(8, 3, 1)
        self.c, self.head = conv(20, 6, act=nn.ReLU), Head(6)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        both = paddle.concat([F.max_pool2d(x, 2), self.a(x)], axis=1)
        return self.head(self.c(both)), self.b(x)


class Crossed(nn.Layer):  # type: ignore[misc]
    """Channels change places: three parts of a split come together in another order and are added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side, self.head = conv(3, 12, 3, 2, act=nn.ReLU), conv(3, 12, 3, 2), Head(12)

    def forward(self, x: Any) -> Any:
        a, b, c = paddle.split(self.stem(x), 3, axis=1)
        return self.head(paddle.concat([c, a, b], axis=1) + self.side(x))


class Stopped(nn.Layer):  # type: ignore[misc]
    """Ops that look at all channels at once, or that have no rule: one branch for each."""

    def __init__(self) -> None:
        super().__init__()
        self.free, kinds = conv(3, 8, 3, 2, act=nn.ReLU), range(6)
        self.before = nn.LayerList([conv(8, 8, act=nn.ReLU) for _ in kinds])
        self.after = nn.LayerList([conv(i, 6, act=nn.ReLU) for i in (8, 8, 8, 2, 1, 8)])
        self.norm, self.head = nn.GroupNorm(2, 8), Head(6)

    def forward(self, x: Any) -> Any:
        x = self.free(x)
        branches = [self.before[k](x) for k in range(6)]
        branches = [
            paddle.cumsum(branches[0], axis=1),
            F.softmax(branches[1], axis=1),
            self.norm(branches[2]),
            F.pixel_shuffle(branches[3], 2),
            paddle.mean(branches[4], axis=1, keepdim=True),
            paddle.stack([branches[5], branches[5]], axis=1).sum(1),
        ]
        y = self.after[0](branches[0])
        for k in range(1, 6):
            y = y + F.adaptive_avg_pool2d(self.after[k](branches[k]), 1)
        return self.head(y)


class Siamese(nn.Layer):  # type: ignore[misc]
    """Parameters that channels which must stay read, too, or another op than the layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2D(3, 3, 3, padding=1, bias_attr=False), nn.BatchNorm2D(3)
        self.b, self.slope, self.c = conv(3, 8), nn.PReLU(3), nn.Conv2D(3, 3, 3, padding=1, bias_attr=False)
        self.d, self.e = nn.Conv2D(3, 8, 1, bias_attr=False), nn.Conv2D(8, 4, 1)
        self.gain = self.create_parameter([1, 8, 1, 1], default_initializer=nn.initializer.Uniform(0.5, 1.5))
        self.f, self.tied = conv(3, 8, 3, 4, act=nn.ReLU), self.create_parameter([8, 6])

    def forward(self, x: Any) -> Any:
        y = self.b(self.norm(self.a(x))) + self.norm(x).sum(1, keepdim=True)
        y = y + self.slope(self.c(x)).sum(1, keepdim=True) + self.slope(x).sum(1, keepdim=True)
        z = self.e(self.d(x) * self.gain)
        words = paddle.matmul(paddle.transpose(paddle.flatten(self.f(x), 2), [0, 2, 1]), self.tied)
        return y * F.sigmoid(self.gain), z, paddle.matmul(words, paddle.transpose(self.tied, [1, 0]))


class Nhwc(nn.Layer):  # type: ignore[misc]
    """Linear layers over the last axis, and back, as ConvNeXt has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc1, self.fc2 = conv(3, 8, 3, 2, act=nn.ReLU), nn.Linear(8, 20), nn.Linear(20, 8)
        self.head = Head(8)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        inner = self.fc2(F.gelu(self.fc1(paddle.transpose(x, [0, 2, 3, 1]))))
        return self.head(x + paddle.transpose(inner, [0, 3, 1, 2]))


class Doubled(nn.Layer):  # type: ignore[misc]
    """A tensor concatenated with what is made of it, and with the picture, whose channels are fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pw = conv(3, 8, 3, act=nn.ReLU), conv(16, 12, act=nn.ReLU)
        self.dw, self.last, self.head = conv(15, 15, 3, groups=15), conv(15, 8, act=nn.ReLU), Head(8)

    def forward(self, x: Any) -> Any:
        y = self.stem(x)
        y = self.pw(paddle.concat([y, y * y], axis=1))
        return self.head(self.last(self.dw(paddle.concat([y, x], axis=1))))


class Folds(nn.Layer):  # type: ignore[misc]
    """Channels folded into two axes: the maximum over one of them, then a reshape to written-out sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pw = conv(3, 12, 3, 4), conv(6, 8, act=nn.ReLU)
        self.fc, self.last = nn.Linear(8 * 16, 10), nn.Linear(10, 5)

    def forward(self, x: Any) -> Any:
        x = self.pw(paddle.max(paddle.reshape(self.stem(x), [-1, 2, 6, 4, 4]), axis=1))
        return self.last(F.relu(self.fc(paddle.reshape(x, [-1, 128]))))


class ShuffledGroups(nn.Layer):  # type: ignore[misc]
    """ShuffleNetV1: grouped convolutions of two kinds around a shuffle, whose halves stay equal."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = conv(3, 16, 3, 2, act=nn.ReLU), conv(16, 32, groups=2, act=nn.ReLU)
        self.dw, self.two, self.head = conv(32, 32, 3, groups=32), conv(32, 16, groups=4), Head(16)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        return self.head(F.relu(x + self.two(self.dw(shuffle(self.one(x))))))


class Sequence(nn.Layer):  # type: ignore[misc]
    """Text recognition's neck: the height pooled away, a convolution along the width."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pw = conv(3, 8, 3, 2, act=nn.ReLU), conv(8, 12, act=nn.ReLU)
        self.along, self.fc = nn.Conv1D(12, 12, 3, padding=1), nn.Linear(12, 5)

    def forward(self, x: Any) -> Any:
        x = paddle.squeeze(F.avg_pool2d(self.pw(self.stem(x)), (8, 1)), 2)
        return F.softmax(self.fc(paddle.transpose(F.relu(self.along(x)), [0, 2, 1])), axis=2)


class Vectors(nn.Layer):  # type: ignore[misc]
    """A linear layer's answers weigh and shift channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc = conv(3, 8, 3, 2, act=nn.ReLU), nn.Linear(8, 8, bias_attr=False)
        self.pw, self.head = conv(8, 6, 3), Head(6)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        v = self.fc(paddle.mean(x, [2, 3]))
        x = x * F.sigmoid(paddle.unsqueeze(v, [2, 3]))
        return self.head(self.pw(x + paddle.reshape(v, [-1, 8, 1, 1])))


class Places(nn.Layer):  # type: ignore[misc]
    """Splits, concats and slices of other axes than the channels'."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pw, self.head = conv(3, 8, 3, 2, act=nn.ReLU), conv(8, 6, 3), Head(6)
        self.corner = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        left, right = paddle.split(self.stem(x), 2, axis=3)
        x = paddle.concat([right, left], axis=3)
        x = x + paddle.flatten(x, 2).sum(-1, keepdim=True).unsqueeze(-1)
        return self.head(self.pw(x[:, :, 1:-1])), self.corner(x[:, :, 0, 0])


class MobileV3(nn.Layer):  # type: ignore[misc]
    """MobileNetV3-small's parts: expansion, depthwise, SE, projection without activation, shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, blocks = conv(3, 16, 3, 2, act=nn.Hardswish), []
        # in, middle, out, kernel, stride, SE, activation
        for i, m, o, k, s, se, act in (
            (16, 16, 16, 3, 2, True, nn.ReLU), (16, 72, 24, 3, 1, False, nn.ReLU),
            (24, 88, 24, 3, 1, False, nn.ReLU), (24, 96, 40, 5, 2, True, nn.Hardswish),
            (40, 96, 40, 5, 1, True, nn.Hardswish),
        ):  # fmt: skip
            inside = [conv(i, m, act=act), conv(m, m, k, s, m, act), *([SE(m)] if se else []), conv(m, o)]
            blocks.append(nn.Sequential(*inside))
        self.blocks, self.wide = nn.LayerList(blocks), conv(40, 96, act=nn.Hardswish)
        self.last, self.fc = nn.Conv2D(96, 64, 1, bias_attr=False), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            after = block(x)
            x = x + after if after.shape[1:] == x.shape[1:] else after
        x = F.hardswish(self.last(F.adaptive_avg_pool2d(self.wide(x), 1)))
        return self.fc(
            paddle.flatten(F.dropout(x, 0.2, training=self.training, mode="downscale_in_infer"), 1)
        )


class ESNet(nn.Layer):  # type: ignore[misc]
    """ESNet_x0_75 (PaddleClas): stages of 3, 7 and 3 blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = conv(3, 24, 3, 2, act=nn.Hardswish), nn.MaxPool2D(3, 2, 1)
        blocks, before = [], 24
        for channels, count in ((88, 3), (176, 7), (352, 3)):
            blocks += [Split2(before, channels), *(Split1(channels) for _ in range(count - 1))]
            before = channels
        self.blocks, self.wide = nn.Sequential(*blocks), conv(352, 1024, act=nn.Hardswish)
        self.last, self.fc = nn.Conv2D(1024, 1280, 1, bias_attr=False), nn.Linear(1280, 1000)

    def forward(self, x: Any) -> Any:
        x = F.adaptive_avg_pool2d(self.wide(self.blocks(self.pool(self.stem(x)))), 1)
        x = F.dropout(F.hardswish(self.last(x)), 0.2, training=self.training, mode="downscale_in_infer")
        return self.fc(paddle.flatten(x, 1))


SMALL: dict[str, Callable[[], Any]] = {
    kind.__name__: kind
    for kind in (
        Chain, Biases, Residuals, Squeezed, Shuffled, Neck, Grouped, Transposed, Flattened, Reshaped, Sliced,
        Averaged, Tokens, Attention, Prelus, Shared, Gated, Matmuls, Consumers, Crossed,
        Stopped, Siamese, Nhwc, Doubled, Folds, ShuffledGroups, Sequence, Vectors, Places, MobileV3,
    )
} | {
    "Shuffled, plain shapes": lambda: Shuffled(computed=False),
    "Reshaped, to the rest": lambda: Reshaped(last=-1),
    "Twice": shared.Twice,
}  # fmt: skip


def pictures(count: int = 2, seed: int = 5, side: tuple[int, int] = (SIDE, SIDE)) -> Array:
    """Noise on a ground of another colour in each, so that even pooled answers differ."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 3, 1, 1)) * 2 + rng.normal(size=(count, 3, *side))).astype(np.float32)


def export(kind: Callable[[], Any], side: int = SIDE) -> Program:
    """The program of a net with random weights, as Paddle saves it.

    Batch norms get the statistics of what reaches them: else the answers of deeper nets are nearly constant.
    """
    net = shared.make(kind)
    norms = [layer for layer in net.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    for norm in norms:
        norm._momentum = 0.0
    net.train()
    net(paddle.to_tensor(pictures(8, seed=1, side=(side, side))))
    net.eval()
    with TemporaryDirectory() as scratch:
        return graph.load(shared.export(net, Path(scratch), (None, 3, side, side)))


@lru_cache(None)
def exported(name: str) -> Program:
    return export(SMALL[name])


VARIANTS = ("saved", "plain", "folded")


def variant(program: Program, kind: str) -> Program:
    """As saved; with biases of convolutions as parameters; with batch norms folded, too."""
    if kind == "folded":
        return edit.fold_batch_norm(program)
    made = program.copy()
    if kind == "plain":
        edit._plain_biases(made)
        edit.drop_unused(made)
    return made


def traced(program: Program, at: dict[str, list[int]] | None = None) -> Trace:
    return trace(program, cost.measured_shapes(program, at))


def groups(program: Program) -> dict[str, Group]:
    return {group.name: group for group in grouping.groups(traced(program))}


def choose(found: Trace, seed: int, most: float = 0.7) -> set[int]:
    """A random share of every group's atoms, at most `most`; every tensor and parameter keeps a channel."""
    rng = np.random.default_rng(seed)
    chosen: set[int] = set()
    for group in grouping.groups(found):
        order = rng.permutation(group.atoms)
        chosen.update(int(a) for a in order[: rng.integers(0, round(most * len(order)) + 1)])
    for along in (*found.tensors.values(), *found.slices):
        if all(int(a) in chosen for a in along.atoms):
            chosen.discard(int(along.atoms[-1]))
    return chosen


def silence(program: Program, found: Trace, removed: set[int]) -> Program:
    """The program with its size unchanged, but with zeros for all weights that read the removed channels."""
    made = program.copy()
    for piece in found.slices:
        if piece.role == "in":
            value = made.params[piece.parameter].copy()
            at = [slice(None)] * value.ndim
            at[piece.axis] = np.asarray([int(a) in removed for a in piece.atoms])  # type: ignore[call-overload]
            value[tuple(at)] = 0
            made.params[piece.parameter] = value
    return made


def answers(program: Program, images: Array) -> dict[str, Array]:
    """What Paddle answers, running the ops as they are written."""
    with TemporaryDirectory() as scratch:
        return shared.run(program, Path(scratch), [{program.feeds[0]: images}])[0]


def difference(got: dict[str, Array], wanted: dict[str, Array]) -> float:
    """The largest error of any output, relative to how much that output changes from picture to picture."""
    assert list(got) == list(wanted)
    worst = 0.0
    for name, value in wanted.items():
        assert got[name].shape == value.shape
        change = np.abs(value - value[:1]).max()
        assert change > 0.01 * np.abs(value).max() > 0, f"{name} hardly depends on the picture"
        worst = max(worst, float(np.abs(got[name] - value).max() / change))
    return worst
