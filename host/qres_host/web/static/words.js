// The swarm's states in plain words, used by every page alike.

import { coarse, count, percent, plural, share } from "./format.js";

export const REGIMES = ["Calm", "PreStorm", "Storm"];
export const REGIME_WORDS = { Calm: "Calm", PreStorm: "Pre-storm", Storm: "Storm" };
export const STATE_WORDS = { awake: "Awake", asleep: "Asleep", late: "Late", lost: "Lost", gateway: "Gateway", waiting: "Not heard yet" };

export const isGateway = (board) => board.state === "gateway" || board.role === "sentinel";

/** What a board's state means for the reader: when it wakes, how late it is. */
export function stateDetail(board, now_ms) {
  const wait_ms = (board.next_wake_ms ?? 0) - now_ms;
  if (board.state === "asleep" && wait_ms > 0) return `wakes in ${coarse(wait_ms)}`;
  if (board.state === "late" && wait_ms < 0) return `by ${coarse(-wait_ms)}`;
  if (board.state === "lost" && board.last_seen_ms) return `for ${coarse(now_ms - board.last_seen_ms)}`;
  return board.state === "gateway" ? "always on" : "";
}

/** Share of frames that never arrived. */
export const lossText = (board) => (board.packets ? share(board.lost, board.lost + board.packets) : "–");

/** One sentence about the weather, one about who is missing. */
export function headline(fleet) {
  const boards = fleet.boards;
  if (!boards.length) return "No board has been heard yet.";
  const counts = fleet.swarm.regime_counts ?? {};
  const storm = counts.Storm ?? 0;
  const early = counts.PreStorm ?? 0;
  const parts = [];
  if (!boards.some((board) => board.regime)) parts.push("The boards are starting.");
  else if (storm) parts.push(`${plural(storm, "board")} in a storm${early ? `, ${early} before one` : ""}.`);
  else if (early) parts.push(`${plural(early, "board")} before a storm.`);
  else parts.push("The swarm is calm.");
  const lost = boards.filter((board) => board.state === "lost").length;
  const late = boards.filter((board) => board.state === "late").length;
  const missing = [lost ? `${lost} lost` : "", late ? `${late} late` : ""].filter(Boolean).join(", ");
  const waiting = boards.filter((board) => board.state === "waiting").length;
  if (waiting) parts.push(`${waiting} not heard yet.`);
  else parts.push(missing ? `${missing[0].toUpperCase()}${missing.slice(1)}.` : "Every board is on time.");
  return parts.join(" ");
}

/** "epoch 12, 93 % agree" or why there is none yet. */
export function modelPhrase(swarm) {
  if (!swarm.model_hash && !swarm.epoch) return "no shared model yet";
  const agree = swarm.agreement_permille;
  return `model epoch ${count(swarm.epoch)}${agree === null || agree === undefined ? "" : `, ${percent(agree)} agree`}`;
}

/** What the host can say about a board's rebuilt samples, and how sure; `missing` counts samples known lost: {tone: ok|bad|plain, text}. */
export function exactness(board, missing = 0) {
  const samples = plural(board.samples, "sample");
  if (isGateway(board) && !board.samples) return { tone: "plain", text: "This board listens and forwards; it senses nothing itself." };
  if (!board.samples) return { tone: "plain", text: "No sample has arrived yet." };
  if (board.mismatched) {
    return { tone: "bad", text: `${plural(board.mismatched, "sample")} of ${count(board.verified)} compared differ from the input.` };
  }
  const gaps = missing ? ` ${plural(missing, "more was", "more were")} lost on the way.` : board.exact ? "" : " Lost packets left gaps.";
  if (board.verified >= board.samples) return { tone: "ok", text: `${samples}, all equal to the input.${gaps}` };
  if (board.verified) return { tone: "ok", text: `${samples}; ${count(board.verified)} compared with the input, all equal.${gaps}` };
  if (board.exact) return { tone: "ok", text: `${samples}, rebuilt without a gap; no input is at hand to compare with.` };
  return { tone: "plain", text: `${samples}; no input is at hand to compare with.${gaps}` };
}
