"""Settings of all tests under pytest."""

import os

from hypothesis import settings

os.environ["QRES_KEYS"] = "/nonexistent/keys.json"  # a developer's own keys are none of the tests' business

# No deadline: no test depends on how fast this machine is. The same examples in every run: a failure is repeatable.
settings.register_profile("qres", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("qres")
