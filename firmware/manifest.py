"""Freezes QRES into an image: make BOARD=ESP32_GENERIC_C6 FROZEN_MANIFEST=.../firmware/manifest.py

Bytecode then runs from flash, which gives its RAM back and saves most of the charge of a boot.
"""

include("$(PORT_DIR)/boards/manifest.py")  # noqa: F821
package("qres", base_path=".", opt=3)  # noqa: F821
module("main.py", base_path=".", opt=3)  # noqa: F821
