"""The coder `huffman` of packets: canonical codes for how many bits a residual has more than usual, then the bits."""

from qres.compat import bit_length, const
from qres.rice import Rice

# Code lengths for the distance of a residual's class (its bit count) from the expected one: 0, +1, -1, +2, ..., escape.
LENGTHS = (2, 2, 2, 4, 3, 6, 5, 8, 7, 8)
ESCAPE = const(9)


def _canonical(lengths: "tuple[int, ...]") -> list[int]:
    """Codes of a canonical prefix code with these lengths (RFC 1951, 3.2.2)."""
    codes = [0] * len(lengths)
    code = 0
    for n in range(1, max(lengths) + 1):
        for symbol in range(len(lengths)):
            if lengths[symbol] == n:
                codes[symbol] = code
                code += 1
        code <<= 1
    return codes


CODES = _canonical(LENGTHS)


class Huffman(Rice):
    """Codes values; `data` None writes."""

    ID = 1

    def residual(self, mean: int, residual: int) -> int:
        """Code a residual of which |residual| is `mean` / 512 on average; the residual."""
        usual = bit_length((mean + 256) >> 9)
        size = bit_length(residual)
        away = size - usual
        symbol = self._symbol(min(2 * away - 1 if away > 0 else -2 * away, ESCAPE))
        if symbol == ESCAPE:
            return self.long(residual)
        size = max(usual + ((symbol + 1) >> 1 if symbol & 1 else -(symbol >> 1)), 0)
        raw = self.bits(residual if residual > 0 else residual + (1 << size) - 1, size)
        return raw if not size or raw >> (size - 1) else raw - (1 << size) + 1

    def _symbol(self, symbol: int) -> int:
        if not self.reader:
            return symbol if self.bits(CODES[symbol], LENGTHS[symbol]) >= 0 else 0
        code = 0
        n = 0
        while n < LENGTHS[ESCAPE]:
            code = code << 1 | self.bits(0, 1)
            n += 1
            for i in range(len(LENGTHS)):
                if LENGTHS[i] == n and CODES[i] == code:
                    return i
        return ESCAPE
