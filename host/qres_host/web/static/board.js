// One board: its rebuilt signal against the input, what surprised it, what it costs, and what it agrees with.

import { chartKey, Stack } from "./charts.js";
import { badge, el, getJson, icon, setData, setIcon, setText } from "./dom.js";
import { ago, asleep, bytes, count, duration, known, NONE, percent, reputation, saved, scaled, stamp, telemetry, withUnit } from "./format.js";
import { exactness, isGateway, lossText, REGIME_WORDS, STATE_WORDS, stateDetail } from "./words.js";

const S = 1000, MIN = 60 * S, H = 60 * MIN, D = 24 * H;
const SPANS = [
  [MIN, "1 min"], [5 * MIN, "5 min"], [15 * MIN, "15 min"], [H, "1 h"], [6 * H, "6 h"], [D, "1 day"],
  [3 * D, "3 days"], [7 * D, "1 week"], [14 * D, "2 weeks"], [30 * D, "30 days"], [90 * D, "90 days"], [365 * D, "1 year"],
];
const SPANS_SHOWN = 5;
const LEAST_SAMPLES = 24; // a window with fewer samples than this shows no shape
const GOOD_SAMPLES = 150;

/** The windows on offer for a sampling period, and the one to begin with. */
export function spansFor(period_ms) {
  const first = Math.max(0, SPANS.findIndex(([span]) => span >= LEAST_SAMPLES * period_ms));
  const offered = SPANS.slice(first, first + SPANS_SHOWN);
  const good = offered.find(([span]) => span >= GOOD_SAMPLES * period_ms) ?? offered.at(-1);
  return { offered, span: good[0] };
}

// Telemetry that the page shows already, in words.
const ELSEWHERE = new Set(["mac", "role", "regime", "silence", "model", "battery_permille", "battery_mv", "faults"]);

const FACTS = [
  ["Last heard", (b, f) => ago(b.last_seen_ms, f.now_ms)],
  ["Next wake", (b, f) => (isGateway(b) ? "always on" : b.next_wake_ms > f.now_ms ? `in ${duration(b.next_wake_ms - f.now_ms)}` : b.next_wake_ms ? (b.state === "asleep" ? "silent until the next round" : `was due ${ago(b.next_wake_ms, f.now_ms)}`) : NONE)],
  ["Battery", (b) => (!known(b.battery_permille) ? (isGateway(b) ? "USB powered" : NONE) : `${percent(b.battery_permille, 1)}${b.battery_mv > 0 ? `, ${count(b.battery_mv)} mV` : ""}`)],
  ["Reputation", (b) => reputation(b.reputation_permille, 3)],
  ["Time asleep", (b) => (known(b.asleep_ppm) && !isGateway(b) ? asleep(b.asleep_ppm) : NONE)],
  ["Samples", (b) => count(b.samples)],
  ["Spikes", (b) => count(b.spikes)],
  ["Packets", (b) => count(b.packets)],
  ["Frames lost", (b) => `${count(b.lost)}${b.packets ? ` (${lossText(b)})` : ""}`],
  ["Sent", (b) => bytes(b.bytes_air)],
  ["Saved vs. raw int32", (b) => (b.samples ? saved(b.bytes_air, b.bytes_raw) : NONE)],
  ["Saved vs. sending each", (b) => (b.samples && b.bytes_every ? saved(b.bytes_air, b.bytes_every) : NONE)],
  ["Sensor faults", (b) => (b.faults?.length ? b.faults.join(", ") : NONE)],
  ["Unlike the others in", (b) => (b.unlike?.length ? b.unlike.join(", ") : NONE)],
  ["Application", (b) => (b.build ? `${b.build}, ${b.kernels}` : NONE)],
];

function factList(names) {
  const list = el("dl", { class: "facts" });
  const values = new Map();
  function set(name, value) {
    if (!values.has(name)) {
      values.set(name, el("dd", { class: "num" }));
      list.append(el("div", {}, el("dt", { text: name }), values.get(name)));
    }
    setText(values.get(name), value);
  }
  for (const name of names) set(name, NONE);
  return { list, set };
}

function skeleton(mac) {
  const ui = {
    name: el("h1", { class: "headline", text: mac }), regime: badge("regime"), state: badge("state"),
    detail: el("span", { class: "detail num" }), exact: el("span"), exactIcon: icon("check"),
    tabs: el("div", { class: "tabs", role: "tablist", "aria-label": "Channels" }),
    spans: el("div", { class: "spans", role: "group", "aria-label": "Time window" }),
    read: el("p", { class: "read num" }), agree: el("p", { class: "agree" }), agreeIcon: icon("check"), agreeText: el("span"),
    signal: el("div", { class: "plot tall", role: "img", "aria-label": "Reconstructed signal and input over time" }),
    residual: el("div", { class: "plot", role: "img", "aria-label": "Residuals over time" }),
    battery: el("div", { class: "plot", role: "img", "aria-label": "Battery level over time" }),
    facts: factList(FACTS.map(([name]) => name)), telemetry: factList([]),
    none: el("p", { class: "more", text: "None received yet." }),
  };
  ui.agree.append(ui.agreeIcon, ui.agreeText);
  ui.exactLine = el("p", { class: "exact", "data-tone": "plain" }, ui.exactIcon, ui.exact);
  return ui;
}

function layout(ui, mac) {
  const panel = (title, ...rest) => el("section", { class: "panel", "aria-label": title }, ...rest);
  const key = chartKey([["line", "Reconstructed"], ["input", "Input"], ["spike", "Spike"], ["gap", "No data"]]);
  const band = chartKey([["calm", "Calm"], ["prestorm", "Pre-storm"], ["storm", "Storm"]]);
  return [
    el("a", { class: "back", href: "#/" }, icon("back"), "All boards"),
    el(
      "section", { class: "intro board-intro", "aria-label": "Board" },
      el("div", { class: "board-name" }, ui.name, el("span", { class: "mac", text: mac })),
      el("div", { class: "board-state" }, ui.regime.node, el("span", {}, ui.state.node, ui.detail)), ui.exactLine,
    ),
    el(
      "div", { class: "board-grid" },
      el(
        "div", { class: "charts" },
        panel("Signal", el("div", { class: "panel-head" }, ui.tabs, ui.spans), el("div", { class: "read-line" }, ui.read), ui.signal, el("div", { class: "keys" }, key, band)),
        panel("Residuals", el("div", { class: "panel-head small" }, el("h2", { text: "Residuals" }), el("span", { class: "aside", text: "what the predictor did not expect" })), ui.residual),
        panel("Energy", el("div", { class: "panel-head small" }, el("h2", { text: "Battery" })), ui.battery),
      ),
      el(
        "div", { class: "side" },
        panel("State", el("div", { class: "panel-head small" }, el("h2", { text: "State" })), ui.facts.list),
        panel("Model", el("div", { class: "panel-head small" }, el("h2", { text: "Model" })), ui.agree),
        panel("Telemetry", el("div", { class: "panel-head small" }, el("h2", { text: "Telemetry" })), ui.telemetry.list, ui.none),
      ),
    ),
  ];
}

/** Mount the page; returns {update(fleet), reroute(target), themed(), destroy()}. */
export function mountBoard(main, live, target) {
  const { mac } = target;
  const ui = skeleton(mac);
  main.append(...layout(ui, mac));
  const state = { channel: Number(target.query.get("channel")) || 0, span: undefined, fixed: null, series: null, seen: "", busy: false, again: false, gone: false, period: 0 };
  let channels = [];
  const text = (value) => (state.series ? scaled(value, state.series.channel.scale) : "");
  const stack = new Stack({ signal: ui.signal, residual: ui.residual, battery: ui.battery }, text, { hover: read, zoom, reset: follow });

  function zoom(from, to) {
    state.fixed = [from, to];
    showSpans();
    load();
  }

  function follow() {
    state.fixed = null;
    showSpans();
    load();
  }

  function read(index) {
    if (!state.series) return;
    const hovering = index !== null && stack.rows?.[index];
    const row = hovering ? stack.rows[index] : stack.rows?.findLast((r) => r[1] !== null);
    const channel = state.series.channel;
    if (!row) return setText(ui.read, "No samples in this window.");
    const when = stamp(row[0]);
    if (row[1] === null) return setText(ui.read, `${when}   ${row[5] ? "the sensor gave no reading" : "nothing received"}`);
    const parts = [withUnit(row[1], channel)];
    if (row[2] !== null) parts.push(row[2] === row[1] ? "equal to the input" : `input ${withUnit(row[2], channel)}`);
    if (row[3] !== null) parts.push(`residual ${row[3] > 0 ? "+" : ""}${scaled(row[3], channel.scale)}`);
    if (row[4]) parts.push("spike");
    setText(ui.read, `${hovering ? "" : "Latest: "}${when}   ${parts.join(",  ")}`);
  }

  function windowNow() {
    if (state.fixed) return state.fixed;
    const end = live.fleet?.now_ms ?? 0;
    return state.span ? [end - state.span, end] : [null, end];
  }

  async function load() {
    if (state.busy) {
      state.again = true;
      return;
    }
    state.busy = true;
    const channel = state.channel;
    const [from, to] = windowNow();
    const ask = new URLSearchParams({ channel, points: Math.max(300, Math.round(ui.signal.clientWidth * 1.5)) });
    if (from !== null) ask.set("from", Math.max(0, Math.floor(from)));
    if (state.fixed) ask.set("to", Math.ceil(to));
    try {
      const url = `/v1/boards/${mac}`;
      const [series, board] = await Promise.all([channels.length ? getJson(`${url}/series?${ask}`) : null, getJson(url)]);
      if (state.gone) return;
      state.detail = { bytes_every: board.bytes_every, missing: board.missing };
      showTelemetry(board.telemetry ?? {});
      if (series && channel === state.channel) showSeries(series, from, to);
    } catch (error) {
      if (!state.gone && error.status === 404) unknown();
      else state.seen = ""; // the connection's own state says so; the next snapshot tries again
    } finally {
      state.busy = false;
      if (state.again && !state.gone) {
        state.again = false;
        load();
      }
    }
  }

  function showSeries(series, from, to) {
    state.series = series;
    const steps = series.t.slice(1).map((t, at) => t - series.t[at]).filter((step) => step > 0);
    if (!state.period && steps.length > 3) {
      state.period = Math.min(...steps);
      ({ offered: state.offered, span: state.span } = spansFor(state.period));
      showSpans();
      state.again = true; // once more, now with a fitting window
    }
    const start = from ?? series.t[0] ?? to - D;
    const late = state.fixed ? to : Math.max(to, live.fleet?.now_ms ?? to);
    stack.show(series, state.fixed || from === null ? start : from + (late - to), late);
    read(null);
  }

  function showSpans() {
    const button = (label, pressed, click) => el("button", { type: "button", class: "chip", "aria-pressed": String(pressed), text: label, on: { click } });
    const choose = (span) => () => {
      state.span = span;
      follow();
    };
    const chips = (state.offered ?? []).map(([span, label]) => button(label, !state.fixed && state.span === span, choose(span)));
    if (state.offered) chips.push(button("All", !state.fixed && state.span === null, choose(null)));
    const at = [...ui.spans.children].indexOf(document.activeElement);
    ui.spans.replaceChildren(...chips);
    if (state.fixed) ui.spans.append(button("Follow", false, follow));
    if (at >= 0) ui.spans.children[Math.min(at, chips.length - 1)]?.focus();
  }

  function showTabs(next) {
    const names = next.map((c) => c.name).join();
    if (names === channels.map((c) => c.name).join()) return;
    channels = next;
    if (state.channel >= channels.length) state.channel = 0;
    const tabs = channels.map((c, at) => el("button", { type: "button", role: "tab", class: "tab", text: c.name.replaceAll("_", " "), on: { click: () => choose(at), keydown: arrow } }));
    ui.tabs.replaceChildren(...tabs);
    markTabs();
  }

  function markTabs() {
    [...ui.tabs.children].forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === state.channel));
      tab.tabIndex = at === state.channel ? 0 : -1;
    });
  }

  function arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    choose((state.channel + step + channels.length) % channels.length);
    ui.tabs.children[state.channel].focus();
  }

  function choose(at) {
    state.channel = at;
    history.replaceState(null, "", `#/board/${mac}${at ? `?channel=${at}` : ""}`);
    markTabs();
    load();
  }

  function showTelemetry(fields) {
    const entries = Object.entries(fields).filter(([name, value]) => !ELSEWHERE.has(name) && (typeof value !== "object" || Array.isArray(value)));
    ui.none.hidden = entries.length > 0;
    for (const [name, value] of entries) ui.telemetry.set(...telemetry(name, value));
  }

  function unknown() {
    state.gone = true;
    stack.destroy();
    main.replaceChildren(el("p", { class: "waiting" }, `No board with the address ${mac} has been heard. `, el("a", { href: "#/", text: "All boards" })));
  }

  function showAgreement(board, swarm) {
    const named = Boolean(board.model_hash && swarm.model_hash);
    const agrees = named && board.model_hash === swarm.model_hash;
    setIcon(ui.agreeIcon, agrees ? "check" : "late");
    setData(ui.agree, "tone", !named ? "plain" : agrees ? "ok" : "warn");
    const words = agrees ? `Holds the swarm's model ${board.model_hash}${known(board.epoch) ? `, epoch ${count(board.epoch)}` : ""}.` : `Holds ${board.model_hash}, the swarm ${swarm.model_hash}.`;
    setText(ui.agreeText, named ? words : "Has not named a model yet.");
  }

  function update(fleet) {
    if (state.gone) return;
    const board = fleet.boards.find((b) => b.mac === mac);
    if (!board) return void load(); // not in the snapshot: the server knows whether it exists at all
    document.title = `${board.name || mac}, QRES`;
    setText(ui.name, board.name || mac);
    ui.regime.set(board.regime ?? "", REGIME_WORDS[board.regime] ?? "No regime told");
    ui.state.set(board.state, STATE_WORDS[board.state] ?? board.state);
    setText(ui.detail, stateDetail(board, fleet.now_ms));
    const claim = exactness(board, state.detail?.missing);
    setData(ui.exactLine, "tone", claim.tone);
    setIcon(ui.exactIcon, claim.tone === "bad" ? "cross" : "check");
    setText(ui.exact, claim.text);
    const full = { ...state.detail, ...board };
    for (const [name, value] of FACTS) ui.facts.set(name, value(full, fleet));
    showAgreement(board, fleet.swarm);
    showTabs(board.channels ?? []);
    const seen = [board.samples, board.packets, board.last_seen_ms, board.battery_permille].join();
    if (seen !== state.seen) {
      state.seen = seen;
      load();
    } else if (state.series && !state.fixed && !state.busy) {
      const [from, to] = windowNow();
      stack.show(state.series, from ?? state.series.t[0] ?? to - D, to); // time passes although nothing arrives
    }
  }

  return {
    update,
    reroute(next) {
      const channel = Number(next.query.get("channel")) || 0;
      if (channel !== state.channel && channel < channels.length) choose(channel);
    },
    themed: () => state.series && stack.build(),
    destroy() {
      state.gone = true;
      stack.destroy();
    },
  };
}
