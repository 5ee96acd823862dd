"""The configuration of a node: defaults, and checks with messages that name the key and what it may be."""

from qres.compat import crc32
from qres.events import ROLES
from qres.predict import NAMES as PREDICTORS

if False:
    from typing import Any

DEFAULTS: "dict[str, Any]" = {
    "name": "qres",  # what people call the board
    "role": "scheduled",  # one of ROLES
    "profile": "default",  # regime profile: default or seed
    "period_ms": 60000,  # sampling period
    "epoch_ms": 14400000,  # one learning round
    "flush_ms": 14400000,  # the oldest sample waits at most so long for its packet
    "base_ms": [14400000, 600000, 30000],  # radio interval in Calm, PreStorm, Storm
    "rendezvous": True,  # round intervals so that sleepers meet
    "slots": 64,  # sending slots in a window ...
    "slot_ms": 16,  # ... and the length of one
    "guard_ms": 40,  # least lead of a radio window
    "order": 4,  # lags of the linear model
    "predictor": "linear",  # what predicts the next values; boards of a swarm may differ
    "cell": "",  # predictor lstm: trained weights, hexadecimal
    "coder": "cm",  # of packets
    "checkpoints": True,  # packets start from what the gateway acknowledged
    "rate": 41,  # learning rate, Q10 (0.04)
    "storm_rate": 205,  # learning rate in Storm, Q10 (0.2)
    "sigma": 5,  # a spike deviates by more standard deviations
    "aggregator": "adaptive",  # how a round makes a model of its updates
    "faulty_permille": 300,  # share of nodes that may lie
    "min_gain_permille": 50,  # least accuracy gain that is worth an update
    "max_residual_permille": 1100,  # residual error, over persistence, above which an update does not infect
    "cost_permille": 20,  # silence: entropy x reputation must exceed this cost
    "hops": 1,  # above 1: relay others' updates, up to three a round
    "peers": 64,  # peers remembered
    "queue": 64,  # frames that wait for the radio
    "battery_uj": 26640000000,  # 2,000 mAh at 3.7 V
    "boot_ms": 418,  # from deep sleep to the first step
    "light_ms": 150000,  # shorter sleeps are light, longer ones deep: the break-even of the board's boot
    "trace": False,  # report every step over serial
    "update_key": "",  # public key of whoever may update the board over the air, hexadecimal
}
# microwatts, microjoules and nanojoules; boards/*.toml name the sources
POWER = {"sleep_uw": 82, "cpu_uw": 75900, "radio_uw": 264000, "boot_uj": 87450, "tx_byte_nj": 7920}
_LIMITS = {
    "period_ms": (10, 32767000),
    "epoch_ms": (60000, 86400000 * 7),
    "flush_ms": (0, 86400000 * 7),
    "slots": (1, 1024),
    "slot_ms": (1, 1000),
    "guard_ms": (0, 60000),
    "order": (1, 16),
    "rate": (0, 512),
    "storm_rate": (0, 512),
    "sigma": (1, 100),
    "faulty_permille": (0, 500),
    "min_gain_permille": (0, 1000),
    "max_residual_permille": (0, 10000),
    "cost_permille": (0, 1000),
    "hops": (1, 4),
    "peers": (1, 1024),
    "queue": (1, 1024),
    "battery_uj": (1000, 1 << 50),
    "boot_ms": (0, 60000),
    "light_ms": (0, 86400000),
}
_CHOICES = {
    "role": ROLES,
    "profile": ("default", "seed"),
    "predictor": PREDICTORS,
    "coder": ("rice", "huffman", "cm"),
    "aggregator": ("adaptive", "weighted_mean", "trimmed_mean", "median"),
}
_STEP_MAX = 0xFFFFFF
_MIXING_BYTES = 600  # of RTC memory for what the coder cm has learned inside a packet, and a richer predictor
_PREDICTOR_BYTES = 350  # of RTC memory for a predictor that knows more than the linear layer ...
_PREDICTOR_HEAP = 2400  # ... and of a snapshot in RAM, when sleeps are light
# What it is beyond that layer, in bytes: a constant, for each channel, for each pair of them (measured, rounded up).
_PREDICTOR_STATE = {"rls": (0, 58, 0), "taaf": (0, 37, 3), "lstm": (74, 40, 0), "mix": (0, 190, 97)}
_MODEL_BYTES = 210  # of a packed model, beside the head of an update
_EXTRA = (
    "swarm_key",
    "channels",
    "sensors",
    "power",
    "radio_channel",
    "board",
    "battery_adc",
    "battery_divider_permille",
)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key and what it may be."""


def load(given: "dict[str, Any]") -> "dict[str, Any]":
    """`given` over the defaults, checked; ConfigError names what is wrong."""
    cfg = dict(DEFAULTS)
    cfg["power"] = dict(POWER)
    for key, value in sorted(given.items()):
        if key == "power":
            cfg["power"] = _power(value)
        elif key in DEFAULTS or key in _EXTRA:
            cfg[key] = value
        else:
            raise ConfigError("unknown key '%s'" % key)
    for key, (low, high) in sorted(_LIMITS.items()):
        v = cfg[key]
        if not isinstance(v, int) or isinstance(v, bool) or not low <= v <= high:
            raise ConfigError("'%s' must be an integer from %d to %d" % (key, low, high))
    for key, allowed in sorted(_CHOICES.items()):
        if cfg[key] not in allowed:
            raise ConfigError("'%s' must be one of %s" % (key, ", ".join(allowed)))
    base = cfg["base_ms"]
    if not isinstance(base, (list, tuple)) or len(base) != 3 or min(base) < 100:
        raise ConfigError("'base_ms' must be three intervals of at least 100 ms")
    _plain("name", cfg["name"])
    cfg["key"] = _key("swarm_key", cfg.get("swarm_key"))
    if cfg["update_key"]:
        cfg["update_key"] = _key("update_key", cfg["update_key"])
    cfg["channels"] = _channels(cfg.get("channels"))
    if len(cfg["channels"]) * (2 * cfg["order"] + 3) > _MODEL_BYTES:
        raise ConfigError("'order' is too high for so many channels: a model must fit one frame")
    known = _known(cfg)
    deep = cfg["role"] != "sentinel" and cfg["period_ms"] >= cfg["light_ms"]
    if known > (_PREDICTOR_BYTES if deep else _PREDICTOR_HEAP):
        said = "; 'light_ms' above 'period_ms' lets the board keep it in RAM" if known <= _PREDICTOR_HEAP else ""
        raise ConfigError(
            "'predictor' must be another: %s has too much to remember for so many channels" % cfg["predictor"] + said
        )
    if cfg["coder"] == "cm" and len(cfg["channels"]) * (4 * cfg["order"] + 62) + known > _MIXING_BYTES:
        if "coder" in given:
            raise ConfigError("'coder' must be rice or huffman: cm has too much to remember for so many channels")
        cfg["coder"] = "rice"
    if deep and known and len(cfg["channels"]) * (4 * cfg["order"] + 62) + known > _MIXING_BYTES:
        if given.get("checkpoints"):
            raise ConfigError("'checkpoints' must be false: the predictor leaves no room for them in deep sleep")
        cfg["checkpoints"] = False
    cfg["cell"] = _cell(cfg)
    layout = [str(cfg["order"])] + [c["name"] + "\t" + c["unit"] + "\t" + c["scale"] for c in cfg["channels"]]
    cfg["model_key"] = crc32("\n".join(layout).encode()) & 0xFFFF
    return cfg


def _known(cfg: "dict[str, Any]") -> int:
    """Bytes that the predictor adds to a snapshot."""
    fixed, each, pair = _PREDICTOR_STATE.get(cfg["predictor"], (0, 0, 0))
    count = len(cfg["channels"])
    return fixed + each * count + pair * count * count


def _cell(cfg: "dict[str, Any]") -> bytes:
    """The bytes of a trained cell of the predictor lstm; none for the one that it makes itself."""
    text = cfg["cell"]
    if not isinstance(text, str) or (text and cfg["predictor"] != "lstm"):
        raise ConfigError("'cell' must be hexadecimal digits, and the predictor lstm")
    if not text:
        return b""
    from qres.predict.lstm import cell_bytes

    size = cell_bytes(len(cfg["channels"]))
    try:
        cell = bytes([int(text[i : i + 2], 16) for i in range(0, len(text), 2)])
    except ValueError:
        cell = b""
    if len(cell) != size:
        raise ConfigError("'cell' must have %d hexadecimal digits for so many channels" % (2 * size))
    return cell


def _plain(key: str, text: "Any") -> None:
    if not isinstance(text, str) or len(text) > 32 or [c for c in text if c < " "] or '"' in text or "\\" in text:
        raise ConfigError("'%s' must be at most 32 characters without quotes and backslashes" % key)


def _key(name: str, text: "Any") -> bytes:
    try:
        key = bytes([int(text[i : i + 2], 16) for i in range(0, 64, 2)]) if len(text) == 64 else b""
    except (TypeError, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigError("'%s' must be 64 hexadecimal digits" % name)
    return key


def _power(value: "Any") -> dict[str, int]:
    power = dict(POWER)
    if not isinstance(value, dict):
        raise ConfigError("'power' must be a table")
    for name, v in sorted(value.items()):
        if name not in POWER or not isinstance(v, int) or v < 0:
            raise ConfigError("'power.%s' must be one of %s, an integer" % (name, ", ".join(sorted(POWER))))
        power[name] = v
    return power


def _step(channel: "dict[str, Any]", key: str) -> int:
    """How far the host may be off in this channel, in its integer steps; 0: not at all."""
    v = channel.get(key, 0)
    if not isinstance(v, int) or isinstance(v, bool) or not 0 <= v <= _STEP_MAX:
        raise ConfigError("'channels.%s' must be an integer from 0 to %d" % (key, _STEP_MAX))
    return v


def _channels(value: "Any") -> list["dict[str, Any]"]:
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= 15:
        raise ConfigError("'channels' must list 1 to 15 channels")
    out = []
    for c in value:
        if not isinstance(c, dict) or not isinstance(c.get("name"), str):
            raise ConfigError("each of 'channels' needs a 'name'")
        _plain("channels.name", c["name"])
        _plain("channels.unit", c.get("unit", ""))
        _plain("channels.scale", c.get("scale", "1"))
        out.append(
            {
                "name": c["name"],
                "unit": c.get("unit", ""),
                "scale": c.get("scale", "1"),
                "range": c.get("range", 0),
                "eps": _step(c, "eps"),
                "silent": _step(c, "silent"),
            }
        )
    return out
