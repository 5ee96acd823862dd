"""Every portable test module on both MicroPython machines; each module and machine is one test here."""

import pytest
import run_vm


@pytest.mark.parametrize("module", run_vm.modules())
@pytest.mark.parametrize("machine", ["unix", "vm32"])
def test_portable(machine: str, module: str) -> None:
    try:
        outcome = run_vm.run(machine, module)
    except run_vm.Unavailable as reason:
        pytest.skip(str(reason))
    assert outcome.failed == 0, outcome.output
    assert outcome.passed > 0, f"{module} has no tests\n{outcome.output}"
