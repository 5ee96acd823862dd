// The live connection: one event stream, what it last said, and how much that can be trusted.

const SILENT_MS = 4000; // the server speaks about twice a second; after this long without a word it is gone
const IDLE_MS = 10000; // connected, but swarm time and samples have stood still this long
const RETRY_MS = 2000;

/** Events: "fleet" (a snapshot to show, never while paused) and "status". */
export class Live extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.status = "connecting"; // connecting, live, idle, lost
    this.paused = false;
    this.fleet = null; // what the page shows
    this.latest = null; // what the server last said
    this.heard_at = 0; // wall clock of the last word
    this.moved_at = 0; // wall clock of the last change in the data
  }

  start() {
    this.open();
    setInterval(() => this.watch(), 500);
  }

  open() {
    this.source?.close();
    this.opened_at = Date.now();
    this.source = new EventSource(this.url);
    this.source.addEventListener("fleet", (event) => this.take(JSON.parse(event.data)));
    this.source.addEventListener("error", () => this.setStatus(this.latest ? "lost" : "connecting"));
  }

  take(fleet) {
    const now = Date.now();
    const before = this.latest;
    if (!before || before.now_ms !== fleet.now_ms || before.totals.samples !== fleet.totals.samples) this.moved_at = now;
    // A board that is known but was never heard is neither awake nor lost.
    for (const board of fleet.boards) if (!board.last_seen_ms && board.state !== "gateway") board.state = "waiting";
    this.latest = fleet;
    this.heard_at = now;
    this.setStatus(now - this.moved_at > IDLE_MS ? "idle" : "live");
    if (!this.paused) this.show();
  }

  show() {
    this.fleet = this.latest;
    this.dispatchEvent(new Event("fleet"));
  }

  watch() {
    const now = Date.now();
    if (this.latest && now - this.heard_at > SILENT_MS) this.setStatus("lost");
    const stuck = this.source.readyState === EventSource.CLOSED || (this.status === "lost" && now - this.heard_at > 2 * SILENT_MS);
    if (stuck && now - this.opened_at > RETRY_MS) this.open();
  }

  setStatus(status) {
    if (status === this.status) return;
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }

  setPaused(paused) {
    this.paused = paused;
    this.dispatchEvent(new Event("status"));
    if (!paused && this.latest) this.show();
  }
}
