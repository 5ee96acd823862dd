"""The model that the swarm agrees on: weights and residual scale of each channel.

Its packed form is canonical: whoever holds the same hash holds the same bits.
"""

from array import array

from qres.compat import const, sha256
from qres.fixed import FixedError, bfp_pack, bfp_unpack
from qres.kernels import ORDER_MAX, WEIGHT_MAX

CHANNELS_MAX = const(15)
_SCALE_MAX = const(131071)  # log2 in Q12, below 32


class ModelError(ValueError):
    """Bytes that are no model."""


class Model:
    """`order` weights (Q16.16) and one scale (log2 of the mean |residual|, Q12) for each of `channels` channels."""

    def __init__(self, channels: int, order: int, values: "list[int] | None" = None) -> None:
        """All weights zero and all scales 1 LSB, or `values`, rounded to what the packed form holds."""
        self.channels = channels
        self.order = order
        self._take(values or [0] * (channels * (order + 1)))

    def _take(self, values: "list[int]") -> None:
        n = self.order + 1
        kept = []
        packed = b""
        for c in range(self.channels):
            block = [min(max(v, -WEIGHT_MAX), WEIGHT_MAX) for v in values[c * n : c * n + n]]
            block[-1] = min(max(block[-1], 0), _SCALE_MAX)
            packed += bfp_pack(block)
            kept += bfp_unpack(packed, n, len(packed) - 1 - 2 * n)
        self.values = array("i", kept)  # an array, as the kernels take it
        self.packed = packed
        self.hash = sha256(bytes([self.channels, self.order]) + packed)[:4]

    def weights(self, channel: int) -> list[int]:
        """The weights of one channel, Q16.16, newest lag first."""
        at = channel * (self.order + 1)
        return list(self.values[at : at + self.order])

    def scale_q12(self, channel: int) -> int:
        """log2 of the mean |residual| of one channel, Q12."""
        return self.values[(channel + 1) * (self.order + 1) - 1]


def size_bytes(channels: int, order: int) -> int:
    """Bytes of a packed vector of that shape."""
    return channels * (2 * order + 3)


def pack_vector(channels: int, order: int, values: "list[int]") -> bytes:
    """A vector of the model's shape (a model or a change of it) in BFP-16, one block a channel."""
    n = order + 1
    return b"".join([bfp_pack(values[c * n : c * n + n]) for c in range(channels)])


def unpack_vector(channels: int, order: int, data: bytes) -> "list[int]":
    """What pack_vector wrote; ModelError for other bytes."""
    if not 1 <= channels <= CHANNELS_MAX or not 1 <= order <= ORDER_MAX or len(data) != size_bytes(channels, order):
        raise ModelError("wrong size of vector")
    out: list[int] = []
    try:
        for c in range(channels):
            out += bfp_unpack(data, order + 1, c * (2 * order + 3))
    except FixedError:
        raise ModelError("no vector")
    return out


def unpack(channels: int, order: int, data: bytes) -> Model:
    """The model of these packed bytes; ModelError unless they are its canonical form."""
    model = Model(channels, order, unpack_vector(channels, order, data))
    if model.packed != data:
        raise ModelError("not canonical")
    return model
