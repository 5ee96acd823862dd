"""What a board says of itself: one table, which packs, unpacks and documents it."""

from qres import VERSION
from qres.events import ROLES
from qres.packet import PacketError

if False:
    from qres.node import Node

# (name, kind); kinds: uint (varint), bytesN.  The comment says [unit:] meaning; the documentation is made from it.
FIELDS = (
    ("mac", "bytes6"),  # hardware address
    ("role", "uint"),  # 0 scheduled, 1 sentinel, 2 on-demand
    ("regime", "uint"),  # 0 Calm, 1 PreStorm, 2 Storm
    ("silence", "uint"),  # 0 Active, 1 Alert, 2 DeepSilence
    ("battery_permille", "uint"),  # permille: charge left, as accounted or measured; 1001 on USB power
    ("battery_mv", "uint"),  # mV: battery voltage; 0 where there is none
    ("spent_mj", "uint"),  # mJ: energy spent since the power came on
    ("uptime_s", "uint"),  # s: since the power came on, deep sleep included
    ("awake_ms", "uint"),  # ms: thereof not in deep or light sleep
    ("radio_ms", "uint"),  # ms: thereof with the radio on
    ("samples", "uint"),  # steps sensed
    ("spikes", "uint"),  # residuals beyond the threshold, all channels
    ("missing", "uint"),  # values that a sensor did not give
    ("alarms", "uint"),  # events whose score raised an alarm, all channels
    ("faults", "uint"),  # at the last sample, three bits a channel, the first lowest: 1 stuck, 2 saturated, 4 missing
    ("sent", "uint"),  # frames sent
    ("heard", "uint"),  # frames accepted
    ("rejected", "uint"),  # frames refused: damaged, forged, replayed or malformed
    ("dropped", "uint"),  # frames that the full queue dropped
    ("epoch", "uint"),  # learning epoch of the model held
    ("agreed", "uint"),  # epochs in which the model held was the announced one
    ("model", "bytes4"),  # hash of the model held
    ("entropy", "uint"),  # 1/65536: entropy of the last sample
    ("next_wake_s", "uint"),  # s: until the radio opens again; 0 when it stays open
)


def pack(values: dict[str, "int | bytes"]) -> bytes:
    """The payload of a TELEMETRY frame; `values` has every name of FIELDS."""
    out = bytearray()
    for name, _ in FIELDS:
        v = values[name]
        if isinstance(v, bytes):
            out += v
        else:
            n = v
            while n > 127:
                out.append((n & 127) | 128)
                n >>= 7
            out.append(n)
    return bytes(out)


def unpack(payload: bytes) -> dict[str, "int | bytes"]:
    """The values of a TELEMETRY payload by name; PacketError when it is none."""
    values: dict[str, int | bytes] = {}
    rest = iter(payload)
    try:
        for name, kind in FIELDS:
            if kind != "uint":
                values[name] = bytes([next(rest) for _ in range(int(kind[5:]))])
                continue
            value = next(rest)
            if value > 127:  # most are one byte
                value &= 127
                shift = 7
                while True:
                    if shift > 56:
                        raise PacketError("not telemetry")
                    b = next(rest)
                    value |= (b & 127) << shift
                    shift += 7
                    if b < 128:
                        break
            values[name] = value
    except StopIteration:
        raise PacketError("not telemetry")
    for _ in rest:
        raise PacketError("not telemetry")
    return values


def values(node: "Node", now_ms: int) -> dict[str, "int | bytes"]:
    """What `node` has to say at `now_ms` (own clock)."""
    wake = 0 if node.sentinel else max(node.next_window(now_ms) - node.clock.swarm(now_ms), 0) // 1000 + 1
    return {
        "mac": node.mac,
        "role": ROLES.index(node.cfg["role"]),
        "regime": node.machine.state,
        "silence": node.silence.state,
        "battery_permille": 1001 if node.sentinel and not node.measured else node.pool.permille(),
        "battery_mv": node.battery_mv,
        "spent_mj": node.pool.spent_uj // 1000,
        "uptime_s": max(now_ms - node.started_ms, 0) // 1000,
        "awake_ms": node.awake_ms,
        "radio_ms": node.radio_ms,
        "samples": node.sensing.samples,
        "spikes": node.sensing.spikes,
        "missing": node.sensing.missing,
        "alarms": node.sensing.alarms,
        "faults": node.sensing.faults(),
        "sent": node.link.sent,
        "heard": node.link.heard,
        "rejected": node.link.rejected,
        "dropped": node.queue.dropped,
        "epoch": node.rounds.epoch,
        "agreed": node.rounds.agreed,
        "model": node.sensing.model.hash,
        "entropy": node.sensing.entropy,
        "next_wake_s": wake,
    }


def hello(node: "Node") -> bytes:
    """JSON: who this board is and what its channels mean, for the host."""
    cfg = node.cfg
    channels = []
    for c in cfg["channels"]:
        channels.append('{"name":"%s","unit":"%s","scale":"%s"}' % (c["name"], c["unit"], c["scale"]))
    mac = ":".join(["%02x" % b for b in node.mac])
    head = '{"mac":"%s","name":"%s","role":"%s","version":"%s"' % (mac, cfg["name"], cfg["role"], VERSION)
    head += ',"build":"%s","kernels":%d' % ("".join(["%02x" % b for b in node.build[:4]]), node.build[4])
    tail = '"period_ms":%d,"epoch_ms":%d,"model_key":%d' % (
        cfg["period_ms"],
        cfg["epoch_ms"],
        cfg["model_key"],
    )
    return (head + ',"channels":[' + ",".join(channels) + "]," + tail + "}").encode()


def peers(node: "Node", now_ms: int) -> bytes:
    """JSON: what this node thinks of its peers: [node, reputation in permille, seconds since heard]."""
    rows = []
    for n, p in sorted(node.link.peers.peers.items()):
        rows.append("[%d,%d,%d]" % (n, p.reputation * 1000 >> 16, max(now_ms - p.heard_ms, 0) // 1000))
    return ('{"t":%d,"peers":[' % node.clock.swarm(now_ms) + ",".join(rows) + "]}").encode()
