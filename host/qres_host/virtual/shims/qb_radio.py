"""The chip's `network` and `espnow`, over the hub's radio."""

import qb_link as _link
import qb_machine as _machine

ESPNOW_BYTES = 250
_ESP_ERR_NOT_INIT = -12389
_ESP_ERR_ARG = -12390
_ESP_ERR_NOT_FOUND = -12393


class _Air:
    wlan = False
    espnow = False
    on = False
    rxbuf = 526
    channel = 1


def _switch():
    on = _Air.wlan and _Air.espnow
    if on != _Air.on:
        _Air.on = on
        _link.tell(_link.RADIO, bytes((on,)))


class WLAN:
    """The station interface: on, off, channel."""

    IF_STA, IF_AP = 0, 1
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 0, 1, 2
    PROTOCOL_LR, PROTOCOL_DEFAULT = 8, 71

    def __init__(self, interface=0):
        pass

    def active(self, on=None):
        """Read or set."""
        if on is None:
            return _Air.wlan
        _Air.wlan = bool(on)
        _switch()
        return _Air.wlan

    def config(self, param=None, **settings):
        """`mac` and `channel` can be read; `channel` is kept, other settings are accepted."""
        if param == "mac":
            return _machine.unique_id()
        if param == "channel":
            return _Air.channel
        if param is not None:
            raise ValueError("unknown config param")
        _Air.channel = settings.get("channel", _Air.channel)

    def disconnect(self):
        """Accepted."""

    def isconnected(self):
        """Never: there is no access point."""
        return False

    def status(self, param=None):
        """Idle."""
        return 1000


class Network:
    """Stands for the module `network`."""

    WLAN = WLAN
    STA_IF, AP_IF, MODE_LR, STAT_IDLE = 0, 1, 8, 1000


class ESPNow:
    """Broadcast datagrams of at most 250 bytes."""

    def __init__(self):
        self.peers_table = {}
        self._peers = []

    def active(self, flag=None):
        """Read or set."""
        if flag is not None:
            _Air.espnow = bool(flag)
            _switch()
            if not flag:
                _link.frames.clear()
                self._peers = []
        return _Air.espnow

    def config(self, param=None, *, rxbuf=None, timeout_ms=None, rate=None):
        """`rxbuf` bytes of frames wait while the program computes."""
        if param == "rxbuf":
            return _Air.rxbuf
        if rxbuf is not None:
            _Air.rxbuf = rxbuf
            _link.tell(_link.RXBUF, bytes((rxbuf & 255, rxbuf >> 8 & 255)))

    def add_peer(self, mac, lmk=None, channel=0, ifidx=0, encrypt=False):
        """Needed before sending. Raises OSError when it is known or ESP-NOW is off."""
        self._check()
        if bytes(mac) in self._peers:
            raise OSError(-12395, "ESP_ERR_ESPNOW_EXIST")
        self._peers.append(bytes(mac))

    def del_peer(self, mac):
        """Forget a peer."""
        self._check()
        if bytes(mac) not in self._peers:
            raise OSError(_ESP_ERR_NOT_FOUND, "ESP_ERR_ESPNOW_NOT_FOUND")
        self._peers.remove(bytes(mac))

    def get_peers(self):
        """(mac, lmk, channel, interface, encrypted) of every peer."""
        return tuple((mac, None, 0, 0, False) for mac in self._peers)

    def send(self, mac, msg=None, sync=True):
        """Send to a peer; True. Raises OSError as the chip does."""
        self._check()
        if msg is None:
            mac, msg = b"\xff\xff\xff\xff\xff\xff", mac
        if isinstance(msg, str):
            msg = msg.encode()
        if not 0 < len(msg) <= ESPNOW_BYTES:
            raise OSError(_ESP_ERR_ARG, "ESP_ERR_ESPNOW_ARG")
        if bytes(mac) not in self._peers:
            raise OSError(_ESP_ERR_NOT_FOUND, "ESP_ERR_ESPNOW_NOT_FOUND")
        _link.tell(_link.SEND, bytes(mac) + bytes(msg))
        return True

    def _check(self):
        if not _Air.espnow:
            raise OSError(_ESP_ERR_NOT_INIT, "ESP_ERR_ESPNOW_NOT_INIT")

    def any(self):
        """Whether a frame waits."""
        return bool(_link.frames)

    def recv(self, timeout_ms=300):
        """(mac, frame) of the next frame, or (None, None) after `timeout_ms`; input on the line ends it too."""
        self._check()
        if not _link.frames:
            ms = 1 << 50 if timeout_ms is None or timeout_ms < 0 else timeout_ms
            # Even an empty look costs a little time, or a loop around it would stop the swarm's clock.
            us = ms * 1000 or 100
            _link.wait(_link.local_us() + us, _link.WAKE_PACKET | _link.WAKE_STDIN)
        if not _link.frames:
            return None, None
        mac, frame, rssi = _link.frames.pop(0)
        self.peers_table[mac] = [rssi, _link.local_us() // 1000 & 0x3FFFFFFF]
        return mac, frame

    irecv = recv


class Espnow:
    """Stands for the module `espnow`."""

    ESPNow = ESPNow
    MAX_DATA_LEN, ADDR_LEN, KEY_LEN = 250, 6, 16
