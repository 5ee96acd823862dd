"""Recorded cases are the arguments of the calls, as they were before the kernel wrote to them."""

from array import array

from kernel_cases.recording import recorded
from qres import elementary, kernels


def test_arguments_are_recorded_before_the_call_and_the_kernel_is_put_back():
    original = kernels.push
    deltas = array("i", [0, 0, 0])

    def run():
        for value in range(1, 7):
            kernels.push(deltas, 0, 3, value)

    found = list(recorded(kernels, "push", run, every=2, most=2))
    assert [list(case[0]) for case in found] == [[0, 0, 0], [2, 1, 0]]
    assert [case[1:] for case in found] == [(0, 3, 1), (0, 3, 3)]
    assert list(deltas) == [6, 5, 4] and kernels.push is original


def test_calls_between_kernels_are_recorded():
    values = array("i", [5, 70000])
    found = list(recorded(elementary, "activate", lambda: elementary.shares(0, 0, 0, 2, values, elementary.EXPS)))
    assert [case[4] for case in found] == [2]
