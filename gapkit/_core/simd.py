"""Vectors of doubles as values of compiled code: the inner loops of the kernels, written once for every processor.

LLVM's own vectoriser turns loops of a length that it knows (eight neighbours, four channels) into scalar code.  Here
such a group is one value: `load4(a, i)` reads elements i .. i + 3 of a contiguous array, counted from its start
whatever its shape; `add`, `sub`, `mul` and `fma` (a * b + c) work on groups; LLVM maps them to what the processor
has.  Kinds of arrays are checked when a kernel is compiled, indices only with NUMBA_BOUNDSCHECK=1.  A NaN stays a NaN.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_model

# InnerProducts and sums may be fused; nothing is assumed about NaN or infinity.
_FLAGS = ("contract", "nsz")
_ALIGNMENT = 8


class Group(types.Type):
    """Numba type of a group of `width` doubles."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"Group({width})")


@register_model(Group)
class _GroupModel(models.PrimitiveModel):
    def __init__(self, manager: Any, group: Group) -> None:
        super().__init__(manager, group, ir.VectorType(ir.DoubleType(), group.width))


FOUR, EIGHT = Group(4), Group(8)


def _vector(group: Group) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType(), group.width)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, group: Group) -> Any:
    array = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        for end in (0, group.width - 1):
            cgutils.do_boundscheck(context, builder, builder.add(index, ir.Constant(index.type, end)), array.nitems)
    start = array.data
    return builder.bitcast(builder.gep(start, [index], inbounds=True), _vector(group).as_pointer())


def _splat(builder: Any, value: Any, group: Group) -> Any:
    vector = builder.insert_element(ir.Constant(_vector(group), ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), group.width), [0] * group.width)
    return builder.shuffle_vector(vector, ir.Constant(_vector(group), ir.Undefined), lanes)


def _check(*arrays: Any) -> None:
    """Raise TypingError unless all are contiguous arrays of float64: other ones would be read at the wrong places."""
    for array in arrays:
        if not (isinstance(array, types.Array) and array.dtype == types.float64 and array.layout == "C"):
            raise TypingError(f"groups are loaded from and stored in C-contiguous arrays of float64, got {array}")


def _loader(group: Group) -> Any:
    @intrinsic
    def load(typing_context, array, index):
        _check(array)

        def generate(context, builder, signature, arguments):
            where = context.cast(builder, arguments[1], signature.args[1], types.intp)
            return builder.load(
                _pointer(context, builder, signature.args[0], arguments[0], where, group), align=_ALIGNMENT
            )

        return group(array, index), generate

    return load


def _filler(group: Group) -> Any:
    @intrinsic
    def fill(typing_context, value):
        def generate(context, builder, signature, arguments):
            return _splat(builder, context.cast(builder, arguments[0], signature.args[0], types.float64), group)

        return group(value), generate

    return fill


load4, load8 = _loader(FOUR), _loader(EIGHT)
fill4, fill8 = _filler(FOUR), _filler(EIGHT)


@intrinsic
def store(typing_context, array, index, group):
    """Write a group to elements index .. of a contiguous array."""
    _check(array)
    if not array.mutable:
        raise TypingError(f"groups are stored in arrays that may be written, got {array}")
    if not isinstance(group, Group):
        raise TypingError(f"`store` writes groups, got {group}; make one of a number with fill4 or fill8")

    def generate(context, builder, signature, arguments):
        where = context.cast(builder, arguments[1], signature.args[1], types.intp)
        pointer = _pointer(context, builder, signature.args[0], arguments[0], where, signature.args[2])
        builder.store(arguments[2], pointer, align=_ALIGNMENT)
        return context.get_dummy_value()

    return types.void(array, index, group), generate


def _binary(operation: str) -> Any:
    @intrinsic
    def apply(typing_context, a, b):
        group = a if isinstance(a, Group) else b

        def generate(context, builder, signature, arguments):
            a, b = (_as_group(context, builder, *item, group) for item in zip(arguments, signature.args, strict=True))
            return getattr(builder, operation)(a, b, flags=_FLAGS)

        return group(a, b), generate

    return apply


def _as_group(context: Any, builder: Any, value: Any, value_type: Any, group: Group) -> Any:
    if isinstance(value_type, Group):
        return value
    return _splat(builder, context.cast(builder, value, value_type, types.float64), group)


add, sub, mul = _binary("fadd"), _binary("fsub"), _binary("fmul")


@intrinsic
def fma(typing_context, a, b, c):
    """A * b + c; numbers among them stand for groups of equal elements."""
    group = next(item for item in (a, b, c) if isinstance(item, Group))

    def generate(context, builder, signature, arguments):
        a, b, c = (_as_group(context, builder, *item, group) for item in zip(arguments, signature.args, strict=True))
        return builder.fadd(builder.fmul(a, b, flags=_FLAGS), c, flags=_FLAGS)

    return group(a, b, c), generate


def _summer(group: Group) -> Any:
    @intrinsic
    def total(typing_context, value):
        def generate(context, builder, signature, arguments):
            parts = [builder.extract_element(arguments[0], ir.Constant(ir.IntType(32), i)) for i in range(group.width)]
            while len(parts) > 1:
                parts = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            return parts[0]

        return types.float64(value), generate

    return total


total4, total8 = _summer(FOUR), _summer(EIGHT)


@intrinsic
def transpose8(typing_context, source, start, stride, target, at, target_stride):
    """Transpose the 8 x 8 block with rows at start, start + stride, ... into rows at, at + target_stride, ...."""
    _check(source, target)

    def generate(context, builder, signature, arguments):
        def index(k):
            return context.cast(builder, arguments[k], signature.args[k], types.intp)

        def lanes(a, b, which):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), 8), which)
            return builder.shuffle_vector(a, b, mask)

        rows = []
        where = index(1)
        for _ in range(8):
            rows.append(
                builder.load(
                    _pointer(context, builder, signature.args[0], arguments[0], where, EIGHT), align=_ALIGNMENT
                )
            )
            where = builder.add(where, index(2))
        for distance in (1, 2, 4):  # swap blocks of 1, 2 and 4 across the diagonal
            low = [i + 8 - distance if i & distance else i for i in range(8)]
            high = [i + 8 if i & distance else i + distance for i in range(8)]
            for i in (k for k in range(8) if not k & distance):
                a, b = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = lanes(a, b, low), lanes(a, b, high)
        where = index(4)
        for row in rows:
            builder.store(
                row, _pointer(context, builder, signature.args[3], arguments[3], where, EIGHT), align=_ALIGNMENT
            )
            where = builder.add(where, index(5))
        return context.get_dummy_value()

    return types.void(source, start, stride, target, at, target_stride), generate


if config.DISABLE_JIT:  # Python cannot call an intrinsic
    import gapkit._core.plain_groups as plain

    load4, load8, fill4, fill8, store = plain.load4, plain.load8, plain.fill4, plain.fill8, plain.store
    add, sub, mul, fma = plain.add, plain.sub, plain.mul, plain.fma
    total4, total8, transpose8 = plain.total, plain.total, plain.transpose8
