// Every board of a large fleet as one small square on one canvas: ten thousand of them cost a few milliseconds.

import { canvasContext, el, setText, token } from "./dom.js";
import { known, percent } from "./format.js";
import { REGIME_WORDS, STATE_WORDS } from "./words.js";

const GAP = 2;

/** Make the map in `host`; a click opens a board. Keyboard users reach the same boards by the filter. */
export function boardMap(host, open) {
  const canvas = el("canvas", { class: "map", role: "img", "aria-label": "Map of all boards, coloured by regime" });
  const hint = el("p", { class: "map-hint num", text: "" });
  let boards = [];
  let grid = { columns: 1, pitch: 12, width: 0 };
  host.append(canvas, hint);

  const at = (event) => {
    const column = Math.floor(event.offsetX / grid.pitch);
    const row = Math.floor(event.offsetY / grid.pitch);
    return column < grid.columns ? boards[row * grid.columns + column] : undefined;
  };
  canvas.addEventListener("click", (event) => {
    const board = at(event);
    if (board) open(board.mac);
  });
  canvas.addEventListener("pointermove", (event) => {
    const b = at(event);
    const words = b ? [b.name, b.mac, REGIME_WORDS[b.regime] ?? "no regime told", STATE_WORDS[b.state], known(b.battery_permille) ? `battery ${percent(b.battery_permille)}` : "no battery told"] : [];
    setText(hint, words.join("  ·  "));
  });
  const resized = new ResizeObserver(() => draw());
  resized.observe(host);

  function draw() {
    const width = host.clientWidth;
    if (!width || !boards.length) return;
    const pitch = boards.length > 4000 ? 8 : boards.length > 1000 ? 12 : 18;
    const columns = Math.max(1, Math.floor(width / pitch));
    const height = Math.ceil(boards.length / columns) * pitch;
    grid = { columns, pitch, width };
    canvas.style.height = `${height}px`;
    const context = canvasContext(canvas, width, height);
    const colours = { Calm: token("calm"), PreStorm: token("prestorm"), Storm: token("storm") };
    const [none, lost, late] = [token("ink-2"), token("bad"), token("warn")];
    const size = pitch - GAP;
    context.lineWidth = 2;
    boards.forEach((board, index) => {
      const x = (index % columns) * pitch;
      const y = Math.floor(index / columns) * pitch;
      const missing = board.state === "lost" || board.state === "late";
      context.globalAlpha = board.regime === "Calm" && !missing ? 0.55 : 1;
      context.fillStyle = colours[board.regime] ?? none;
      if (missing) {
        context.strokeStyle = board.state === "lost" ? lost : late; // hollow: not heard as announced
        context.strokeRect(x + 1, y + 1, size - 2, size - 2);
      }
      else context.fillRect(x, y, size, size);
    });
    context.globalAlpha = 1;
  }

  return {
    update(next) {
      boards = next;
      draw();
    },
    redraw: draw,
    destroy: () => resized.disconnect(),
  };
}
