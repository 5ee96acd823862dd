"""Arguments for every kernel of qres.rangecoder, recorded from packets."""

from kernel_cases.recorded import generators

globals().update(generators("code", "code_bits"))
