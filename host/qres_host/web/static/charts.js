// uPlot, dressed for this page: UTC time axes, one shared window, gaps that stay gaps.

import { el, token } from "./dom.js";
import { stamp } from "./format.js";

const DAY_MS = 86_400_000;
const FONT = '12px Inter, system-ui, sans-serif';
const LEFT_PX = 62;
const BAND_PX = { Calm: 3, PreStorm: 6, Storm: 10 }; // height says it as well as colour

const two = (n) => String(n).padStart(2, "0");

/** Tick texts: a date where the day is the step, otherwise a time with the date under the first and at midnight. */
function timeTicks(plot, splits, axis, space, step_ms) {
  let before = null;
  return splits.map((ms) => {
    const [, day, month, year, clock] = stamp(ms, step_ms < 60_000).match(/(\d+) (\w+) (\d+), (.*)/);
    const date = `${day} ${month}`;
    const fresh = before !== date;
    const text = step_ms >= DAY_MS ? date + (before?.year === year ? "" : `\n${year}`) : fresh ? `${clock}\n${date}` : clock;
    before = step_ms >= DAY_MS ? { year } : date;
    return text;
  });
}

const xAxis = () => ({
  stroke: token("ink-2"), font: FONT, size: 40, gap: 6, space: 84, values: timeTicks,
  grid: { stroke: token("grid"), width: 1 }, ticks: { show: false },
});

const yAxis = (text) => ({
  stroke: token("ink-2"), font: FONT, size: LEFT_PX, gap: 8, space: 34,
  values: (plot, splits) => splits.map(text),
  grid: { stroke: token("grid"), width: 1 }, ticks: { show: false },
});

/** Shade the spans without data, under everything else. */
function shadeGaps(plot, gaps) {
  const { ctx, bbox } = plot;
  const { min, max } = plot.scales.x;
  ctx.save();
  ctx.fillStyle = token("gap");
  for (const [from, to] of gaps) {
    if (to <= min || from >= max) continue;
    const x0 = plot.valToPos(Math.max(from, min), "x", true);
    const x1 = plot.valToPos(Math.min(to, max), "x", true);
    ctx.fillRect(x0, bbox.top, Math.max(1, x1 - x0), bbox.height);
  }
  ctx.restore();
}

/** Draw the regimes as a band on the time axis. */
function regimeBand(plot, spans) {
  const { ctx, bbox } = plot;
  const { min, max } = plot.scales.x;
  const colours = { Calm: token("calm"), PreStorm: token("prestorm"), Storm: token("storm") };
  ctx.save();
  for (const [from, to, name] of spans) {
    if (to <= min || from >= max) continue;
    const x0 = plot.valToPos(Math.max(from, min), "x", true);
    const x1 = plot.valToPos(Math.min(to, max), "x", true);
    const height = (BAND_PX[name] ?? 3) * devicePixelRatio;
    ctx.fillStyle = colours[name] ?? token("ink-2");
    ctx.fillRect(x0, bbox.top + bbox.height - height, Math.max(1, x1 - x0), height);
  }
  ctx.restore();
}

/** Spans in which the board itself had no reading: runs of nulls among the samples. */
export function readingGaps(series) {
  const spans = [];
  series.value.forEach((value, at) => {
    const next = series.t[at + 1] ?? series.t[at];
    if (value !== null) return;
    if (at && series.value[at - 1] === null && spans.length) spans.at(-1)[1] = next;
    else spans.push([series.t[at], next]);
  });
  return spans;
}

/** Put a row of nulls into every gap, so that no line bridges it, and one at each end, so that a window is never empty. */
export function withGaps(series, from, to) {
  const input = series.input ?? [];
  const rows = series.t.map((t, at) => [t, series.value[at], input[at] ?? null, series.residual[at], series.spike[at], true]);
  const empty = (t) => [t, null, null, null, 0, false];
  for (const [start, end] of series.gaps) rows.push(empty((start + end) / 2));
  if (!rows.length || rows[0][0] > from) rows.push(empty(from));
  if (!rows.length || series.t.at(-1) < to || !series.t.length) rows.push(empty(to));
  rows.sort((a, b) => a[0] - b[0]);
  return rows;
}

/** A little air around the data, with more below for the regime band; whole range when it is flat. */
const padded = (below, above) => (plot, low, high) => {
  if (low === null || low === undefined) return [0, 1];
  const span = high - low || Math.abs(high) * 0.1 || 1;
  return [low - span * below, high + span * above];
};

const symmetric = (plot, low, high) => {
  const reach = Math.max(Math.abs(low ?? 0), Math.abs(high ?? 0)) || 1;
  return [-reach * 1.1, reach * 1.1];
};

const none = () => null;

/** The three plots of a board's page over one time window. `text(value)` formats a sample for the axis. */
export class Stack {
  constructor(hosts, text, on) {
    this.hosts = hosts; // {signal, residual, battery}
    this.text = text;
    this.on = on; // {hover(index or null), zoom(from, to), reset()}
    this.window = [0, 1];
    this.gaps = [];
    this.regimes = [];
    this.plots = {};
    this.data = { main: null, battery: null };
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(hosts.signal);
  }

  options(host, height, series, scale, text, hooks = {}) {
    const range = () => this.window;
    return {
      width: Math.max(200, host.clientWidth), height, ms: 1, padding: [10, 14, 0, 0], legend: { show: false },
      tzDate: (ms) => uPlot.tzDate(new Date(ms), "UTC"),
      scales: { x: { time: true, range }, y: { range: scale } },
      axes: [xAxis(), yAxis(text)],
      cursor: {
        y: false, sync: { key: "board", setSeries: false }, drag: { x: true, y: false, setScale: false },
        points: { show: false }, bind: { dblclick: () => () => this.on.reset() },
      },
      series: [{}, ...series],
      hooks: {
        drawClear: [(plot) => shadeGaps(plot, this.gaps)],
        setSelect: [(plot) => this.selected(plot)],
        ...hooks,
      },
    };
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 8) return;
    const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.on.zoom(Math.round(from), Math.round(to));
  }

  build() {
    this.destroyPlots();
    const { signal, residual, battery } = this.hosts;
    const storm = token("storm");
    const line = (stroke, width, extra = {}) => ({ stroke, width, points: { show: false }, ...extra });
    const marks = { stroke: storm, paths: none, points: { show: true, size: 9, width: 1.75, stroke: storm, fill: token("surface") } };
    const bars = uPlot.paths.bars({ size: [0.7, 5, 1] });
    this.plots.signal = new uPlot(
      this.options(signal, 300, [line(token("input"), 5), line(token("accent"), 1.5), marks], padded(0.16, 0.08), this.text, {
        draw: [(plot) => regimeBand(plot, this.regimes)],
        setCursor: [(plot) => this.on.hover(plot.cursor.idx ?? null)],
      }),
      this.data.main?.signal ?? [[0, 1], [null, null], [null, null], [null, null]], signal,
    );
    this.plots.residual = new uPlot(
      this.options(residual, 150, [
        line(token("spark"), 0, { paths: bars, fill: token("spark") }), line(storm, 0, { paths: bars, fill: storm }),
      ], symmetric, this.text),
      this.data.main?.residual ?? [[0, 1], [null, null], [null, null]], residual,
    );
    this.plots.battery = new uPlot(
      this.options(battery, 150, [line(token("accent"), 1.5)], () => [0, 1000], (value) => `${value / 10} %`),
      this.data.battery ?? [[0, 1], [null, null]], battery,
    );
  }

  /** Show a series in a window; the plots keep their place, so nothing flickers. */
  show(series, from, to) {
    this.window = [from, Math.max(to, from + 1)];
    this.gaps = [...series.gaps, ...readingGaps(series)];
    this.regimes = series.regime;
    this.rows = withGaps(series, from, to);
    const column = (at) => this.rows.map((row) => row[at]);
    const t = column(0);
    const spikes = this.rows.map((row) => (row[4] ? row[1] : null));
    const plain = this.rows.map((row) => (row[4] ? null : row[3]));
    const marked = this.rows.map((row) => (row[4] ? row[3] : null));
    this.data.main = { signal: [t, column(2), column(1), spikes], residual: [t, plain, marked] };
    const energy = [from, ...series.energy.t.filter((ms) => ms > from && ms < to), Math.max(to, from + 1)];
    const level = new Map(series.energy.t.map((ms, at) => [ms, series.energy.battery_permille[at]]));
    this.data.battery = [energy, energy.map((ms) => (level.get(ms) >= 0 ? level.get(ms) : null))];
    if (!this.plots.signal) return this.build();
    this.plots.signal.setData(this.data.main.signal);
    this.plots.residual.setData(this.data.main.residual);
    this.plots.battery.setData(this.data.battery);
  }

  resize() {
    for (const [name, plot] of Object.entries(this.plots)) {
      const width = Math.max(200, this.hosts[name].clientWidth);
      if (width !== plot.width) plot.setSize({ width, height: plot.height });
    }
  }

  destroyPlots() {
    for (const plot of Object.values(this.plots)) plot.destroy();
    this.plots = {};
  }

  destroy() {
    this.resized.disconnect();
    this.destroyPlots();
  }
}

/** The swarm's agreement by epoch, in percent. Returns {set(history), themed(), destroy()}. */
export function agreementChart(host) {
  let plot = null;
  let data = [[0, 1], [null, null]];
  const build = () => {
    plot?.destroy();
    plot = new uPlot({
      width: Math.max(200, host.clientWidth), height: 240, padding: [10, 14, 0, 0], legend: { show: false },
      scales: { x: { time: false }, y: { range: () => [0, 1000] } },
      axes: [
        { ...xAxis(), size: 30, space: 60, values: (u, splits) => splits.map((v) => (Number.isInteger(v) ? String(v) : "")) },
        yAxis((value) => `${value / 10} %`),
      ],
      cursor: { y: false, drag: { x: false, y: false } },
      series: [{}, { stroke: token("accent"), width: 1.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
    }, data, host);
  };
  const resized = new ResizeObserver(() => plot?.setSize({ width: Math.max(200, host.clientWidth), height: 240 }));
  resized.observe(host);
  return {
    set(history) {
      data = [history.map((h) => h.epoch), history.map((h) => h.agree_permille)];
      if (plot) plot.setData(data);
      else build();
    },
    themed: () => plot && build(),
    destroy() {
      resized.disconnect();
      plot?.destroy();
    },
  };
}

/** A key for a chart: [[class, text], …]. */
export const chartKey = (items) =>
  el("span", { class: "key" }, ...items.map(([kind, text]) => el("span", {}, el("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), text)));
