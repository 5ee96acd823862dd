"""What MicroPython and CPython do not share, in one place."""

import binascii
import hashlib

if False:
    from array import array
    from typing import Any, Callable, TypeVar

    Kernel = TypeVar("Kernel", bound=Callable[..., int])

_BLOCK = 64  # bytes: the block size of SHA-256


def const(value: int) -> int:
    """Return `value`; MicroPython's compiler folds the call away."""
    return value


def kernel(function: "Kernel") -> "Kernel":
    """Mark a function that is also compiled to machine code; here it stays as it is.

    A kernel takes whole numbers and buffers, casts the buffers in its first lines and returns a whole number. Every
    intermediate stays within +-2^30, where unbounded, 31-bit and 32-bit integers agree.
    """
    return function


def ptr8(buffer: "Any") -> "array[int]":
    """Return `buffer`, a bytearray or bytes; machine code reads it as unsigned bytes."""
    view: "array[int]" = buffer
    return view


def ptr16(buffer: "Any") -> "array[int]":
    """Return `buffer`, an array('H'); machine code reads it as unsigned 16-bit words."""
    view: "array[int]" = buffer
    return view


def ptr32(buffer: "Any") -> "array[int]":
    """Return `buffer`, an array('i'); machine code reads it as signed 32-bit words."""
    view: "array[int]" = buffer
    return view


def bit_length(value: int) -> int:
    """Number of bits of |value|; 0 for 0.  MicroPython has no int.bit_length."""
    if value < 0:
        value = -value
    bits = 0
    while value >= 256:
        value >>= 8
        bits += 8
    while value:
        value >>= 1
        bits += 1
    return bits


def sha256(data: bytes) -> bytes:
    """SHA-256 of `data`, 32 bytes (FIPS 180-4)."""
    digest: bytes = hashlib.sha256(data).digest()
    return digest


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 of `data` under `key`, 32 bytes (RFC 2104); MicroPython ships no hmac."""
    if len(key) > _BLOCK:
        key = sha256(key)
    key = key + bytes(_BLOCK - len(key))
    inner = sha256(bytes([b ^ 0x36 for b in key]) + data)
    return sha256(bytes([b ^ 0x5C for b in key]) + inner)


def crc32(data: "bytes | bytearray", crc: int = 0) -> int:
    """CRC-32 (IEEE 802.3) of `data`, continued from `crc`; 0 to 2^32 - 1."""
    return binascii.crc32(data, crc) & 0xFFFFFFFF
