// The small line in a table row. A canvas: sixty of them redraw in under a millisecond.

import { canvasContext, token } from "./dom.js";

const WIDTH = 128;
const HEIGHT = 26;

/** Make a spark line; `set(values)` redraws when they changed, `redraw()` after a change of theme. */
export function spark() {
  const node = document.createElement("canvas");
  node.className = "spark";
  node.setAttribute("aria-hidden", "true");
  let values = [];
  let key = "";
  return {
    node,
    set(next) {
      const nextKey = next.join();
      if (nextKey === key) return;
      key = nextKey;
      values = next;
      draw(node, values);
    },
    redraw: () => draw(node, values),
  };
}

function draw(node, values) {
  const context = canvasContext(node, WIDTH, HEIGHT);
  const known = values.filter((value) => value !== null);
  if (!known.length) return;
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const x = (at) => 2 + (at * (WIDTH - 6)) / Math.max(1, values.length - 1);
  const y = (value) => HEIGHT - 4 - ((value - low) * (HEIGHT - 8)) / span;
  context.strokeStyle = token("spark");
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  context.beginPath();
  let pen = false; // down: a missing value lifts it, so that a gap stays a gap
  values.forEach((value, at) => {
    if (value === null) pen = false;
    else if (pen) context.lineTo(x(at), y(value));
    else {
      context.moveTo(x(at), y(value));
      pen = true;
    }
  });
  context.stroke();
  const last = values.length - 1;
  if (values[last] !== null) {
    context.fillStyle = token("accent");
    context.beginPath();
    context.arc(x(last), y(values[last]), 2, 0, 7);
    context.fill();
  }
}
