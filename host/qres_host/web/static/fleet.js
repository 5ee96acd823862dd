// The fleet overview: the swarm in a sentence, its key figures, and every board in a table (and a map when many).

import { badge, el, meter, setData, setText } from "./dom.js";
import { ago, asleep, bytes, coarse, count, known, NONE, percent, plural, reputation, saved, scaled, share, speed, stamp, unit } from "./format.js";
import { boardMap } from "./map.js";
import { spark } from "./spark.js";
import { headline, isGateway, lossText, modelPhrase, REGIME_WORDS, REGIMES, STATE_WORDS, stateDetail } from "./words.js";

const TABLE_ROWS = 64; // beyond this the map shows all, the table the first ones of the chosen order
const RESORT_MS = 4000; // rows that jump twice a second cannot be read

const natural = new Intl.Collator("en", { numeric: true });
const SEVERITY = { lost: 0, late: 1, waiting: 1.5, awake: 2, asleep: 3, gateway: 4 };

// Each column: heading, alignment, sort key (ascending unless `down`), and whether its order moves with live data.
const COLUMNS = [
  { id: "name", text: "Board", key: (b) => b.name || b.mac },
  { id: "regime", text: "Regime", key: (b) => REGIMES.indexOf(b.regime), down: true, moves: true },
  { id: "state", text: "State", key: (b) => SEVERITY[b.state] ?? 9, moves: true },
  { id: "signal", text: "Signal" },
  { id: "battery", text: "Battery", key: (b) => (known(b.battery_permille) ? b.battery_permille : 2000), moves: true },
  { id: "reputation", text: "Reputation", key: (b) => b.reputation_permille ?? -1, down: true, moves: true },
  { id: "saved", text: "Saved", right: true, key: (b) => (b.bytes_raw ? 1 - b.bytes_air / b.bytes_raw : -9), down: true, moves: true },
  { id: "lost", text: "Lost", right: true, key: (b) => (b.packets ? b.lost / (b.packets + b.lost) : -1), down: true, moves: true },
  { id: "samples", text: "Samples", right: true, key: (b) => b.samples, down: true, moves: true },
  { id: "seen", text: "Last heard", right: true, key: (b) => b.last_seen_ms ?? 0, down: true, moves: true },
];

const FIGURES = [
  { id: "raw", label: "Saved vs. raw int32", of: (t) => [saved(t.bytes_air, t.bytes_raw), insteadOf(t.bytes_air, t.bytes_raw)] },
  { id: "every", label: "Saved vs. sending each", of: (t) => [saved(t.bytes_air, t.bytes_every), insteadOf(t.bytes_air, t.bytes_every)] },
  { id: "samples", label: "Samples rebuilt", of: (t) => [count(t.samples), `from ${plural(t.packets, "packet")}`] },
  { id: "exact", label: "Streams exact", of: (t) => [t.streams ? `${count(t.streams_exact)} of ${count(t.streams)}` : NONE, `${plural(t.mismatched, "mismatch", "mismatches")}${t.streams > t.streams_exact ? ", rest has gaps" : ""}`], bad: (t) => t.mismatched > 0 },
  { id: "lost", label: "Frames lost", of: (t) => [count(t.frames_lost), t.packets ? `${share(t.frames_lost, t.frames_lost + t.packets)} of those sent` : "none sent yet"] },
  { id: "refused", label: "Frames refused", of: (t) => [count(t.rejected), `cable: ${count(t.serial_gaps)} lost, ${count(t.serial_bad)} bad`] },
  { id: "asleep", label: "Time asleep", of: (t, f) => [asleepShare(f.boards), "mean over boards"] },
];

const insteadOf = (air, reference) => (reference ? `${bytes(air)} instead of ${bytes(reference)}` : "no sample yet");

function asleepShare(boards) {
  const sleepers = boards.filter((b) => !isGateway(b) && known(b.asleep_ppm));
  if (!sleepers.length) return NONE;
  return asleep(sleepers.reduce((sum, b) => sum + b.asleep_ppm, 0) / sleepers.length);
}

/** One table row that knows how to update itself without being rebuilt. */
function boardRow(mac, open) {
  const link = el("a", { class: "row-link", href: `#/board/${mac}` });
  const regime = badge("regime");
  const state = badge("state");
  const detail = el("span", { class: "detail num" });
  const line = spark();
  const last = el("span", { class: "last num" });
  const battery = meter();
  const trust = meter();
  const cell = (id, ...children) => el("td", { class: `c-${id}`, role: "cell" }, ...children);
  const right = (id) => cell(id, el("span", { class: "num" }));
  const cells = Object.fromEntries(["saved", "lost", "samples", "seen"].map((id) => [id, right(id)]));
  const row = el(
    "tr", { role: "row" },
    cell("name", link, el("span", { class: "mac", text: mac })),
    cell("regime", regime.node), cell("state", state.node, detail), cell("signal", line.node, last),
    cell("battery", battery.node), cell("reputation", trust.node), ...Object.values(cells),
  );
  row.addEventListener("click", (event) => {
    if (event.target !== link && !String(getSelection())) open(mac);
  });
  const labels = { saved: "saved", lost: "lost", samples: "samples", seen: "heard" };
  for (const [id, node] of Object.entries(cells)) node.dataset.label = labels[id];
  function update(b, now_ms) {
    const gateway = isGateway(b);
    setText(link, b.name || mac);
    regime.set(b.regime ?? "", REGIME_WORDS[b.regime] ?? NONE);
    state.set(b.state, STATE_WORDS[b.state] ?? b.state);
    setText(detail, stateDetail(b, now_ms));
    setData(row, "state", b.state);
    line.set(b.spark ?? []);
    const first = b.channels?.[0];
    setText(last, first && first.last !== null && b.samples ? `${scaled(first.last, first.scale)} ${unit(first.unit)}` : gateway ? "listens" : NONE);
    if (known(b.battery_permille)) battery.set(b.battery_permille, percent(b.battery_permille));
    else battery.set(null, gateway ? "USB" : NONE);
    trust.set(b.reputation_permille ?? null, reputation(b.reputation_permille));
    setText(cells.saved.firstChild, b.samples ? saved(b.bytes_air, b.bytes_raw) : NONE);
    setText(cells.lost.firstChild, lossText(b));
    setText(cells.samples.firstChild, b.samples || !gateway ? count(b.samples) : NONE);
    setText(cells.seen.firstChild, ago(b.last_seen_ms, now_ms, coarse));
  }
  return { row, update, redraw: line.redraw };
}

/** The headings; a click sorts, a second click turns the order round. */
function heading(order, change) {
  const buttons = COLUMNS.filter((column) => column.key).map((column) => {
    const button = el("button", { type: "button", class: "sort", text: column.text, on: { click: () => change(column.id) } });
    return [column.id, el("th", { class: `c-${column.id}${column.right ? " right" : ""}`, role: "columnheader", scope: "col" }, button)];
  });
  const heads = Object.fromEntries(buttons);
  const cells = COLUMNS.map((c) => heads[c.id] ?? el("th", { class: `c-${c.id}`, role: "columnheader", scope: "col", text: c.text }));
  function mark() {
    for (const [id, node] of Object.entries(heads)) {
      node.setAttribute("aria-sort", id !== order.by ? "none" : order.down ? "descending" : "ascending");
    }
  }
  mark();
  return { node: el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...cells)), mark };
}

function sorted(boards, order) {
  const column = COLUMNS.find((c) => c.id === order.by);
  const sign = order.down ? -1 : 1;
  const compare = (a, b) => {
    const [x, y] = [column.key(a), column.key(b)];
    return typeof x === "string" ? natural.compare(x, y) : x - y;
  };
  // Boards that sense come first by name, the gateway after them: it has no signal to look at.
  const last = (b) => (order.by === "name" && isGateway(b) ? 1 : 0);
  return [...boards].sort((a, b) => last(a) - last(b) || sign * compare(a, b) || natural.compare(a.name ?? "", b.name ?? "") || (a.mac < b.mac ? -1 : 1));
}

function skeleton(order, changeOrder, filter) {
  const title = el("h1", { class: "headline" });
  const sub = el("p", { class: "sub num" });
  const figures = FIGURES.map((figure) => {
    const value = el("dd", { class: "figure num" });
    const note = el("dd", { class: "note num" });
    const node = el("div", { class: "cell", "data-figure": figure.id }, el("dt", { text: figure.label }), value, note);
    return { ...figure, node, value, note };
  });
  const legend = REGIMES.map((name) => {
    const mark = badge("regime");
    return { name, mark, node: el("span", {}, mark.node) };
  });
  const search = el("input", { type: "search", id: "filter", placeholder: "Name or MAC", "aria-label": "Filter boards", on: { input: () => filter(search.value) } });
  const options = COLUMNS.filter((c) => c.key).map((c) => el("option", { value: c.id, text: `Sort by ${c.text.toLowerCase()}` }));
  const select = el("select", { class: "sort-select", "aria-label": "Sort boards", on: { change: () => changeOrder(select.value) } }, ...options);
  const head = heading(order, changeOrder);
  const body = el("tbody", { role: "rowgroup" });
  const table = el("table", { class: "boards", role: "table", "aria-label": "Boards" }, head.node, body);
  const more = el("p", { class: "more", hidden: "" });
  const mapHost = el("div", { class: "map-host", hidden: "" });
  return { title, sub, figures, legend, search, select, head, body, table, more, mapHost };
}

/** Mount the page; returns {update(fleet), themed(), destroy()}. */
export function mountFleet(main, live) {
  const order = { by: "name", down: false };
  const rows = new Map();
  let sortedAt = 0;
  let arranged = -1; // boards at the last sorting
  let wanted = "";
  let hovered = false;
  const open = (mac) => (location.hash = `#/board/${mac}`);
  const ui = skeleton(order, changeOrder, (text) => {
    wanted = text.trim().toLowerCase();
    refresh();
  });
  const map = boardMap(ui.mapHost, open);
  main.append(
    el("section", { class: "intro", "aria-label": "The swarm now" }, ui.title, ui.sub),
    el("dl", { class: "strip", "aria-label": "Key figures" }, ...ui.figures.map((f) => f.node)),
    el(
      "section", { class: "panel", "aria-label": "Boards" },
      el(
        "div", { class: "panel-head" }, el("h2", { text: "Boards" }),
        el("span", { class: "legend" }, ...ui.legend.map((item) => item.node)), ui.search, ui.select,
      ),
      ui.mapHost, ui.table, ui.more,
    ),
  );
  ui.body.addEventListener("pointerenter", () => (hovered = true));
  ui.body.addEventListener("pointerleave", () => (hovered = false));

  function changeOrder(id) {
    const column = COLUMNS.find((c) => c.id === id);
    order.down = order.by === id ? !order.down : Boolean(column.down);
    order.by = id;
    ui.select.value = id;
    ui.head.mark();
    refresh();
  }

  function refresh() {
    sortedAt = 0;
    if (live.fleet) update(live.fleet);
  }

  function arrange(fleet) {
    const match = (b) => !wanted || (b.name ?? "").toLowerCase().includes(wanted) || b.mac.includes(wanted);
    const shown = sorted(fleet.boards.filter(match), order).slice(0, TABLE_ROWS);
    const nodes = shown.map((b) => {
      if (!rows.has(b.mac)) rows.set(b.mac, boardRow(b.mac, open));
      return rows.get(b.mac).row;
    });
    const same = nodes.length === ui.body.children.length && nodes.every((node, at) => node === ui.body.children[at]);
    if (!same) {
      const focused = document.activeElement;
      ui.body.replaceChildren(...nodes);
      if (focused && nodes.some((node) => node.contains(focused))) focused.focus(); // moving a row drops its focus
    }
    const hidden = fleet.boards.length - nodes.length;
    ui.more.hidden = hidden === 0;
    setText(ui.more, wanted ? `${count(nodes.length)} of ${plural(fleet.boards.length, "board")} match.` : `The first ${count(nodes.length)} of ${plural(fleet.boards.length, "board")} in this order; the map shows all.`);
    sortedAt = Date.now();
  }

  function update(fleet) {
    const { totals, swarm, boards, now_ms } = fleet;
    setText(ui.title, headline(fleet));
    setText(ui.sub, [`${now_ms ? `${stamp(now_ms)} UTC` : "no time heard yet"}`, plural(boards.length, "board"), modelPhrase(swarm), speed(fleet.speed)].filter(Boolean).join("  ·  "));
    for (const figure of ui.figures) {
      const [value, note] = figure.of(totals, fleet);
      setText(figure.value, value);
      setText(figure.note, note);
      setData(figure.node, "bad", figure.bad?.(totals) ? "1" : "0");
    }
    for (const { name, mark, node } of ui.legend) {
      const boardsIn = swarm.regime_counts?.[name] ?? 0;
      mark.set(name, `${count(boardsIn)} ${REGIME_WORDS[name]}`);
      setData(node, "zero", boardsIn ? "0" : "1");
    }
    const moves = COLUMNS.find((c) => c.id === order.by).moves;
    const settled = boards.length === arranged && !wanted;
    const busy = hovered || ui.body.contains(document.activeElement);
    if (!settled || sortedAt === 0 || (moves && !busy && Date.now() - sortedAt > RESORT_MS)) arrange(fleet);
    arranged = boards.length;
    for (const board of boards) {
      const row = rows.get(board.mac);
      if (row?.row.isConnected) row.update(board, now_ms);
    }
    ui.mapHost.hidden = boards.length <= TABLE_ROWS;
    if (!ui.mapHost.hidden) map.update(boards);
  }

  return {
    update,
    themed() {
      for (const { redraw } of rows.values()) redraw();
      map.redraw();
    },
    destroy: () => map.destroy(),
  };
}
