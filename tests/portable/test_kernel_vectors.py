"""Kernels compute on every machine what plain Python computed: golden results and checksums of what they wrote."""

from qres.compat import crc32
from support import vectors


def test_every_kernel_gives_its_golden_records():
    golden = vectors("kernels")
    assert golden
    for module in sorted(golden):
        kernels = getattr(__import__("qres." + module), module)
        cases = getattr(__import__("kernel_cases." + module), module)
        for name in sorted(golden[module]):
            seen = 0
            for case in getattr(cases, name)():
                record = [getattr(kernels, name)(*case)]
                record += [crc32(bytes(item)) for item in case if not isinstance(item, int)]
                assert record == golden[module][name][seen], (module, name, seen)
                seen += 1
            assert seen == len(golden[module][name]) > 0, (module, name)
