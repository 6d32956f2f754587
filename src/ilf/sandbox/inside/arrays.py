"""numpy's arrays and scalars as plain data, where numpy is installed."""

from __future__ import annotations

from typing import Any

from .plain import CannotCross, text, two

MAX_NDIM = 32


def encode(encoder: Any, value: Any, numpy: Any) -> Any:
    """An array or a scalar as JSON-able data; of objects, their own data."""
    import base64

    if type(value) is numpy.ndarray:
        if value.dtype.hasobject:
            return {"npo": [list(value.shape), encoder.items(value.ravel().tolist())]}
        data = numpy.ascontiguousarray(value)
        return {"np": [data.dtype.str, list(value.shape), base64.b64encode(data.tobytes()).decode("ascii")]}
    if value.dtype.hasobject or value.dtype.names:
        return encoder.other(value)
    return {"nps": [value.dtype.str, base64.b64encode(value.tobytes()).decode("ascii")]}


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise CannotCross("numpy is not installed where the tests run") from None
    return numpy


def _dtype(numpy: Any, name: Any) -> Any:
    # Only plain kinds: bool, int, uint, float, complex, text, bytes, dates.
    dtype = numpy.dtype(text(name))
    if dtype.kind not in "biufcUSmM":
        raise CannotCross("an array of an unusual type")
    return dtype


def array(body: Any) -> Any:
    """An array of numbers, text or dates."""
    if type(body) is not list or len(body) != 3 or type(body[1]) is not list or len(body[1]) > MAX_NDIM:
        raise CannotCross("an array was expected")
    import base64

    numpy = _numpy()
    if any(type(size) is not int or size < 0 for size in body[1]):
        raise CannotCross("an array's shape was expected")
    flat = numpy.frombuffer(base64.b64decode(text(body[2])), dtype=_dtype(numpy, body[0]))
    return flat.reshape(body[1]).copy()


def object_array(decoder: Any, body: Any) -> Any:
    """An array of objects."""
    shape, values = two(body)
    numpy = _numpy()
    values = decoder.items(values)
    array = numpy.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    return array.reshape(decoder.items(shape))


def scalar(body: Any) -> Any:
    """One number of numpy's."""
    import base64

    name, data = two(body)
    numpy = _numpy()
    [value] = numpy.frombuffer(base64.b64decode(text(data)), dtype=_dtype(numpy, name))
    return value
