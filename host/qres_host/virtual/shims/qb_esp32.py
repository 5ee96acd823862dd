"""The chip's `esp32`: non-volatile storage and its temperature."""

import json

import qb_link as _link

_stores = {}


def _start(blob):
    global _stores
    _stores = json.loads(blob) if blob else {}


def mcu_temperature():
    """The chip's temperature in degrees Celsius."""
    return 25


class NVS:
    """Keys of one namespace; kept by the hub on commit."""

    def __init__(self, namespace):
        self._keys = _stores.setdefault(namespace, {})

    def _get(self, key):
        if key not in self._keys:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return self._keys[key]

    def get_i32(self, key):
        """Raises OSError when there is none."""
        return self._get(key)

    def set_i32(self, key, value):
        """Kept after commit()."""
        self._keys[key] = value

    def get_blob(self, key, buffer):
        """Fill `buffer`; returns the length."""
        data = bytes(int(self._get(key)[i : i + 2], 16) for i in range(0, len(self._get(key)), 2))
        buffer[: len(data)] = data
        return len(data)

    def set_blob(self, key, value):
        """Kept after commit()."""
        self._keys[key] = "".join("%02x" % b for b in value)

    def erase_key(self, key):
        """Raises OSError when there is none."""
        self._get(key)
        del self._keys[key]

    def commit(self):
        """Write down."""
        _link.tell(_link.NVS, json.dumps(_stores).encode())
