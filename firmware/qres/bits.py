"""Bits into bytes, most significant first."""


class BitWriter:
    """Appends bits to a bytearray."""

    STATE = "u:bits b:data"

    def __init__(self) -> None:
        """Empty."""
        self.data = bytearray()
        self.bits = 0  # bits written

    def put(self, value: int, count: int) -> None:
        """Append the low `count` bits of `value` >= 0."""
        while count > 0:
            free = -self.bits & 7
            if free == 0:
                self.data.append(0)
                free = 8
            take = count if count < free else free
            count -= take
            self.data[-1] |= ((value >> count) & ((1 << take) - 1)) << (free - take)
            self.bits += take
