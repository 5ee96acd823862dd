"""Tags of the events that a node takes and of the actions that it asks for.

An event is a tuple (tag, now_ms, ...), an action a tuple (tag, ...).  Nothing else reaches a node
and nothing else leaves it, so a list of events is a complete, replayable record of a board's life.
"""

from qres.compat import const

# Events: (tag, now_ms, ...); now_ms is the board's own clock, which runs on through deep sleep.
BOOT = const(1)  # cause, seed (0 to 2^30 - 1), mac (6 bytes), session (u16), build (5 bytes, see Port.build)
SAMPLE = const(2)  # values: tuple of int or None (missing), one per channel
PACKET = const(3)  # frame (bytes), rssi_dbm
TIMER = const(4)  # the deadline of the last SLEEP passed
POWER = const(5)  # battery_permille, battery_mv; -1 where there is none
SENT = const(6)  # failed: how many SEND actions of the last batch the radio refused
COMMAND = const(7)  # name (str), argument: from the host
OTA = const(8)  # payload (bytes) of an OTA frame that the port's updater wants to be sent

ROLES = ("scheduled", "sentinel", "on-demand")

# Causes of a BOOT.
POWER_ON = const(0)
DEEP_SLEEP = const(1)
WATCHDOG = const(2)
SOFT = const(3)

# Actions.
SEND = const(1)  # frame (bytes), broadcast
SLEEP = const(2)  # until_ms (own clock), kind
SAVE = const(3)  # target, blob (bytes)
REPORT = const(4)  # type of the serial frame, payload (bytes)
RADIO = const(5)  # on (0 or 1)
REPLY = const(6)  # payload (bytes, JSON): the answer to a COMMAND
SENSE = const(7)  # read every sensor now: POWER and SAMPLE follow
STAGE = const(8)  # payload (bytes) of an OTA frame, for the port's updater

# Kinds of SLEEP.
IDLE = const(0)  # awake; a packet or a command ends it early
LIGHT = const(1)  # RAM kept, radio off
DEEP = const(2)  # only RTC memory kept; ends in a BOOT

# Targets of SAVE.
RTC = const(0)
FLASH = const(1)

# Types of serial frames (docs/wire.md).
WIRE_RADIO = const(1)
WIRE_TRACE = const(2)
WIRE_REPLY = const(3)
WIRE_HELLO = const(4)
WIRE_PEERS = const(5)
WIRE_LOG = const(6)
WIRE_POINTS = const(7)  # never from a board: what a host writes into its own capture
