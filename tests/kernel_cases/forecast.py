"""Arguments for every kernel of qres.forecast, recorded from packets."""

from kernel_cases.recorded import generators

globals().update(generators("predict", "correct", "blend", "learn", "measure", "standardize", "follow"))
