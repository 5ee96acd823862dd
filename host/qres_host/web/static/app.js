// The shell: routes, the connection's state, pause and theme. Pages mount into <main> and clean up after themselves.

import { mountBoard } from "./board.js";
import { getJson, setIcon, setText } from "./dom.js";
import { mountFleet } from "./fleet.js";
import { stamp } from "./format.js";
import { Live } from "./live.js";
import { mountModel } from "./model.js";

const $ = (id) => document.getElementById(id);
const live = new Live("/v1/events");
let page = null;

/** "#/board/02:51:…?channel=1" -> {name: "board", mac, query}. */
function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean);
  if (parts[0] === "board" && parts[1]) {
    return { name: "board", mac: decodeURIComponent(parts[1]).toLowerCase(), query: new URLSearchParams(query) };
  }
  return { name: parts[0] === "model" ? "model" : "fleet", query: new URLSearchParams(query) };
}

function show() {
  const target = route();
  if (page?.key === "board" && target.name === "board" && page.mac === target.mac) {
    page.reroute?.(target);
    return;
  }
  page?.destroy();
  const main = $("main");
  main.replaceChildren();
  const mount = { fleet: mountFleet, board: mountBoard, model: mountModel }[target.name];
  page = { key: target.name, mac: target.mac, ...mount(main, live, target) };
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === target.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = target.name === "fleet" ? "QRES" : target.name === "model" ? "Model, QRES" : `${target.mac}, QRES`;
  scrollTo(0, 0);
  if (live.fleet) page.update(live.fleet);
}

function showStatus() {
  const words = { connecting: "Connecting", live: "Live", idle: "No new data", lost: "Offline" };
  const lost = live.status === "lost";
  const shown = live.paused && !lost ? "paused" : live.status;
  $("status").dataset.status = shown;
  setText($("status-text"), shown === "paused" ? "Paused" : words[shown]);
  document.body.dataset.stale = lost ? "1" : "0";
  $("banner").hidden = !lost;
  if (lost) {
    const since = live.fleet ? ` What you see is the state of ${stamp(live.fleet.now_ms)} swarm time.` : "";
    setText($("banner"), `Connection to the server lost.${since} Trying again.`);
  }
  const button = $("pause");
  button.setAttribute("aria-pressed", String(live.paused));
  setText(button.lastElementChild, live.paused ? "Resume" : "Pause");
  setIcon(button.firstElementChild, live.paused ? "play" : "pause");
}

async function showInfo() {
  try {
    const info = await getJson("/v1/info");
    setText($("title"), [info.title, info.note].filter(Boolean).join(": "));
    setText($("foot"), `QRES ${info.version}. Served by this machine; the page asks no other.`);
  } catch {
    // The page works without its caption, and the connection's state is shown elsewhere.
  }
}

live.addEventListener("fleet", () => page?.update(live.fleet));
live.addEventListener("status", showStatus);
addEventListener("hashchange", show);
addEventListener("qres-theme", () => page?.themed?.());
$("pause").addEventListener("click", () => live.setPaused(!live.paused));
$("theme").addEventListener("click", () => window.qresTheme.toggle());
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // a hash would be taken for a route
  $("main").focus();
});
show();
live.start();
showInfo();
