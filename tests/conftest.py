"""Settings of all tests under pytest."""

from hypothesis import settings

# No deadline: no test depends on how fast this machine is. The same examples in every run: a failure is repeatable.
settings.register_profile("qres", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("qres")
