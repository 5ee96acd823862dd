"""ed25519, sha512: Wycheproof's vectors (tests/vectors/ed25519.json), RFC 8032, FIPS 180-4, and bytes of no meaning."""

from qres.ed25519 import verify
from qres.sha512 import sha512
from support import noise, vectors, xorshift


def unhex(text):
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text), 2)])


def test_sha512():
    abc = (
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    two = (
        "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
        "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
    )
    assert sha512(b"abc") == unhex(abc)
    message = (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
        b"ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
    )
    assert len(message) == 112 and sha512(message) == unhex(two)
    empty = (
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
    )
    assert sha512(b"") == unhex(empty)


def test_rfc_8032():
    public = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = unhex(
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        )
    )
    assert verify(public, b"\x72", signature)
    for i in range(0, 512, 37):
        bad = bytearray(signature)
        bad[i >> 3] ^= 1 << (i & 7)
        assert not verify(public, b"\x72", bytes(bad)), i
    assert not verify(public, b"\x73", signature)
    assert not verify(public[:31], b"\x72", signature) and not verify(public, b"\x72", signature[:63])


def test_wycheproof():
    for number, public, message, signature, valid in vectors("ed25519"):
        assert verify(unhex(public), unhex(message), unhex(signature)) == valid, number


def test_noise_is_no_signature():
    source = xorshift(3)
    for _ in range(10):
        assert not verify(noise(source, 32), noise(source, 40), noise(source, 64))
