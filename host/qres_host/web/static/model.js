// The shared model: how it grew, who holds it, and what it weighs.

import { agreementChart } from "./charts.js";
import { el, getJson, icon, setData, setIcon, setText } from "./dom.js";
import { count, NONE, percent, plural } from "./format.js";

const EPOCHS_LISTED = 12;
const ONE_Q16 = 65536; // weights are fixed-point with 16 fractional bits

/** The names of the weights: by channel and lag where they divide evenly among the swarm's channels. */
function weightNames(weights, fleet) {
  const channels = fleet.boards.find((b) => b.channels?.length)?.channels ?? [];
  const lags = weights / channels.length;
  const even = channels.length && Number.isInteger(lags);
  return Array.from({ length: weights }, (_, at) => (even ? `${channels[Math.floor(at / lags)].name.replaceAll("_", " ")} ${(at % lags) + 1}` : `w${at + 1}`));
}

function weightRow() {
  const bar = el("i");
  const name = el("span", { class: "w-name num" });
  const value = el("span", { class: "num w-value" });
  const node = el("div", { class: "weight" }, name, el("span", { class: "w-track", "aria-hidden": "true" }, bar), value);
  return {
    node,
    set(weight, largest, text) {
      setText(name, text);
      const part = (50 * Math.abs(weight)) / (largest || 1);
      bar.style.setProperty("width", `${part}%`);
      bar.style.setProperty("left", weight < 0 ? `${50 - part}%` : "50%");
      setText(value, (weight / ONE_Q16).toFixed(4).replace("-", "−"));
    },
  };
}

function holderChip(mac) {
  const mark = icon("check");
  const name = el("span", { text: mac });
  const hash = el("span", { class: "mac num" });
  const node = el("a", { class: "holder", href: `#/board/${mac}` }, mark, name, hash);
  return {
    node,
    set(holder, label) {
      setIcon(mark, holder.agrees ? "check" : "late");
      setData(node, "agrees", holder.agrees ? "1" : "0");
      setText(name, label);
      setText(hash, holder.hash ?? "none yet");
    },
  };
}

function historyTable() {
  const body = el("tbody");
  const heads = ["Epoch", "Model", "Updates used", "Agreement"].map((text, at) => el("th", { scope: "col", class: at < 2 ? "" : "r", text }));
  const node = el("table", { class: "plain", "aria-label": "Latest epochs" }, el("thead", {}, el("tr", {}, ...heads)), body);
  let key = "";
  return {
    node,
    set(history) {
      const latest = history.slice(-EPOCHS_LISTED).reverse();
      const next = JSON.stringify(latest);
      if (next === key) return;
      key = next;
      const row = (h) => el("tr", {}, ...[count(h.epoch), h.hash ?? NONE, count(h.inputs), percent(h.agree_permille, 1)].map((text, at) => el("td", { class: at === 1 ? "mac num" : at ? "num r" : "num", text })));
      body.replaceChildren(...latest.map(row));
    },
  };
}

/** Mount the page; returns {update(fleet), themed(), destroy()}. */
export function mountModel(main, live) {
  const title = el("h1", { class: "headline", text: "The shared model" });
  const sub = el("p", { class: "sub num" });
  const chartHost = el("div", { class: "plot", role: "img", "aria-label": "Agreement by epoch" });
  const weights = el("div", { class: "weights" });
  const holders = el("div", { class: "holders" });
  const table = historyTable();
  const chart = agreementChart(chartHost);
  const weightRows = [];
  const chips = new Map();
  const state = { busy: false, gone: false, seen: "" };
  const panel = (text, aside, ...rest) =>
    el("section", { class: "panel", "aria-label": text }, el("div", { class: "panel-head small" }, el("h2", { text }), el("span", { class: "aside", text: aside })), ...rest);
  main.append(
    el("section", { class: "intro", "aria-label": "The model now" }, title, sub),
    el(
      "div", { class: "model-grid" },
      el(
        "div", {},
        panel("Agreement", "share of boards that hold the epoch's model", chartHost),
        panel("Epochs", `the latest ${EPOCHS_LISTED}`, table.node),
      ),
      el(
        "div", {},
        panel("Weights", "of the swarm's predictor, per channel and lag", weights),
        panel("Boards", "and the model that each one holds", holders),
      ),
    ),
  );

  function show(models, fleet) {
    const names = new Map(fleet.boards.map((b) => [b.mac, b.name]));
    const agreeing = models.boards.filter((b) => b.agrees).length;
    const words = models.history.length
      ? `Epoch ${count(models.epoch)}  ·  ${count(agreeing)} of ${plural(models.boards.length, "board")} hold it  ·  ${plural(models.weights.length, "weight")}`
      : "No epoch has ended yet: every board still learns for itself.";
    setText(sub, words);
    chart.set(models.history);
    table.set(models.history);
    const labels = weightNames(models.weights.length, fleet);
    const largest = Math.max(...models.weights.map(Math.abs), 1);
    models.weights.forEach((weight, at) => {
      if (!weightRows[at]) {
        weightRows[at] = weightRow();
        weights.append(weightRows[at].node);
      }
      weightRows[at].set(weight, largest, labels[at]);
    });
    for (const holder of models.boards) {
      if (!chips.has(holder.mac)) {
        chips.set(holder.mac, holderChip(holder.mac));
        holders.append(chips.get(holder.mac).node);
      }
      chips.get(holder.mac).set(holder, names.get(holder.mac) ?? holder.mac);
    }
  }

  async function update(fleet) {
    const seen = JSON.stringify([fleet.swarm, fleet.boards.map((b) => b.model_hash)]);
    if (state.busy || seen === state.seen) return;
    state.busy = true;
    try {
      const models = await getJson("/v1/models");
      if (!state.gone) show(models, fleet);
      state.seen = seen;
    } catch {
      state.seen = ""; // the connection's own state says so; the next snapshot tries again
    } finally {
      state.busy = false;
    }
  }

  return {
    update,
    themed: () => chart.themed(),
    destroy() {
      state.gone = true;
      chart.destroy();
    },
  };
}
