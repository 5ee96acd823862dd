"""Freezes QRES into an image of MicroPython: bytecode then runs from flash, which gives its RAM back.

    qres build --out frozen --arch rv32imc --source
    cd micropython/ports/esp32
    make BOARD=ESP32_GENERIC_C6 FROZEN_MANIFEST=/path/to/frozen/manifest.py

What `qres build` writes has constants folded, kernels marked for the compiler of machine code, and the self-test; this
folder as it stands can be frozen too, as bytecode alone.  Paths are relative to this file.
"""

include("$(PORT_DIR)/boards/manifest.py")  # noqa: F821
package("qres")  # noqa: F821
module("boot.py")  # noqa: F821
module("main.py")  # noqa: F821
