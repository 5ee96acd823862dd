"""Arguments for every kernel of qres.cm, recorded from packets."""

from kernel_cases.recorded import generators

globals().update(generators("decide", "adapt", "survival", "scale", "symbol", "magnitude"))
