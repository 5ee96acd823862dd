"""checkpoints: packets start from what the host acknowledged, over a lossy link, and nothing is lost in silence."""

from qres import events as ev
from qres import packet
from qres.codec import MissingModel, decode
from qres.model import unpack
from qres.node import Node
from support import xorshift
from test_swarm import HOUR, START, Swarm, config


class Host:
    """Holds the checkpoints of the nodes that it heard; forgets them all when it is told to."""

    def __init__(self):
        self.models, self.points, self.rows = {}, {}, {}
        self.read = self.lost = 0
        self.starts = [0, 0, 0]

    def answers(self, reports):
        """Commands for the sentinel, on what came since the last call."""
        held, missed = "", ""
        for _, kind, payload in reports[self.read :]:
            if kind == ev.WIRE_RADIO:
                kind, node, _, _, body = packet.parse(payload[9:])
                if kind == packet.MODEL and packet.unpack_model(body).channels:
                    said = packet.unpack_model(body)
                    m = unpack(said.channels, said.order, said.packed)
                    self.models[m.hash] = m
                elif kind == packet.DATA:
                    try:
                        block = decode(body, self.models, self.points, node)
                    except MissingModel as missing:
                        assert missing.checkpoint
                        missed += missing.model_hash.hex()
                        self.lost += 1
                        continue
                    self.starts[block.state] += 1
                    for k, row in enumerate(block.steps):
                        self.rows[(node & 255) - 1, block.index + k] = row
                    if block.kept:
                        self.points[block.after.name] = block.after
                        held += block.after.name.hex()
        self.read = len(reports)
        return [pair for pair in (("ack", held), ("nak", missed)) if pair[1]]


def all_true(swarm):
    """Whether all that the host decoded is what the sensors read; how much it is."""
    for (i, index), row in sorted(swarm.host.rows.items()):
        assert swarm.truth[i][index] == row, (i, index)
    return len(swarm.host.rows)


def test_packets_start_from_what_the_host_acknowledged():
    swarm = Swarm(4, flush_ms=3 * HOUR)
    swarm.host = Host()
    swarm.run(START + 60 * HOUR)
    assert all_true(swarm) >= 3 * 50
    assert swarm.host.starts[2] > 4 * (swarm.host.starts[0] + swarm.host.starts[1]) and not swarm.host.lost


def test_with_losses_and_resets_packets_still_decode_and_a_forgetful_host_is_heard():
    for seed in range(4):
        swarm = Swarm(4, lose=30, flush_ms=3 * HOUR)
        swarm.source = xorshift(seed + 1)
        swarm.host = Host()
        swarm.run(START + 40 * HOUR)
        assert not swarm.host.lost and all_true(swarm) > 40
        swarm.rtc[2] = b""  # the power of one board was cut
        swarm.nodes[2] = Node(config("scheduled", **swarm.changes))
        swarm.run(START + 80 * HOUR)
        assert not swarm.host.lost and swarm.host.starts[2] > 8
        swarm.host.points = {}
        before = len(swarm.host.rows)
        swarm.run(START + 120 * HOUR)
        assert swarm.host.lost <= 12  # at most a few packets of each board, and each is known to be missing
        assert all_true(swarm) > before + 30
