// Numbers and times as a person reads them. Values arrive as integers; nothing here invents precision.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const UNITS = { degC: "°C", degF: "°F", percent: "%", deg: "°" };
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const NONE = "–";

export const unit = (name) => UNITS[name] ?? name ?? "";
export const count = (n) => (n === null || n === undefined ? NONE : whole.format(n));
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** Whether a figure is known: boards that have not told one yet give null. */
export const known = (n) => n !== null && n !== undefined && n >= 0;

/** Decimals that a scale such as "0.1" carries. */
export const decimals = (scale) => (String(scale).split(".")[1] ?? "").length;

/** An integer sample as text, without its unit. */
export function scaled(value, scale) {
  if (value === null || value === undefined) return NONE;
  return (value * Number(scale)).toFixed(Math.min(6, decimals(scale))).replace("-", "−");
}

/** An integer sample with its unit. */
export function withUnit(value, channel) {
  const text = scaled(value, channel.scale);
  const name = unit(channel.unit);
  return text === NONE || !name ? text : `${text} ${name}`;
}

export const percent = (permille, digits = 0) =>
  permille === null || permille === undefined ? NONE : `${(permille / 10).toFixed(digits).replace("-", "−")} %`;

/** A reputation of 0..1000 as 0..1. */
export const reputation = (permille, digits = 2) => (known(permille) ? (permille / 1000).toFixed(digits) : NONE);

/** part of all as a percentage; more digits where it is small, and never 0 % or 100 % by rounding alone. */
export function share(part, all, digits = 1) {
  if (!all) return NONE;
  const value = (100 * part) / all;
  let text = value.toFixed(value <= -100 ? 0 : digits);
  if (part > 0 && Number(text) === 0) text = `<${(10 ** -digits).toFixed(digits)}`;
  if (part < all && Number(text) >= 100) text = (100 - 10 ** -digits).toFixed(digits);
  return `${text.replace("-", "−")} %`;
}

/** A share of time in millionths: two digits, because a board that sleeps 99.98 % never sleeps all the time. */
export const asleep = (ppm) => share(ppm, 1e6, 2);

/** Bytes saved against a reference, as a percentage; negative when more was sent. */
export const saved = (air, reference) => (reference ? share(reference - air, reference) : NONE);

export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  if (n < 1000) return `${n} B`;
  const [size, name] = n < 1e6 ? [n / 1e3, "kB"] : n < 1e9 ? [n / 1e6, "MB"] : [n / 1e9, "GB"];
  return `${size.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0)} ${name}`;
}

/** A duration in its two largest units. */
export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return s % 60 && m < 10 ? `${m} min ${s % 60} s` : `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  const d = Math.floor(h / 24);
  return h % 24 && d < 10 ? `${d} d ${h % 24} h` : `${d} d`;
}

/** A duration in its largest unit alone, for a table that is read at a glance. */
export function coarse(ms) {
  const steps = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "min"]];
  const step = steps.find(([size]) => ms >= size);
  return step ? `${Math.floor(ms / step[0])} ${step[1]}` : `${Math.max(0, Math.floor(ms / 1000))} s`;
}

/** How long ago, in swarm time. */
export function ago(then_ms, now_ms, say = duration) {
  if (!then_ms) return "never";
  const age_ms = now_ms - then_ms;
  return age_ms < 1000 ? "now" : `${say(age_ms)} ago`;
}

const two = (n) => String(n).padStart(2, "0");

/** A moment of swarm time, UTC: "Sun 13 Jan 2013, 05:00". */
export function stamp(ms, seconds = false) {
  const d = new Date(ms);
  const clock = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${seconds ? `:${two(d.getUTCSeconds())}` : ""}`;
  return `${DAYS[d.getUTCDay()]} ${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}, ${clock}`;
}

export function speed(times) {
  if (!times) return "";
  if (times === 1) return "real time";
  return times >= 10 ? `${count(times)} × real time` : `${times} × real time`;
}

/** A telemetry field by its suffix: ["sleep", "0.81 J"]. */
export function telemetry(name, value) {
  const label = (suffix) => name.slice(0, -suffix.length).replaceAll("_", " ");
  if (typeof value !== "number") return [name.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : String(value ?? NONE)];
  if (name.endsWith("_permille")) return [label("_permille"), value < 0 ? NONE : percent(value, 1)];
  if (name.endsWith("_bytes")) return [label("_bytes"), bytes(value)];
  if (name.endsWith("_uj")) return [label("_uj"), `${(value / 1e6).toFixed(2)} J`];
  if (name.endsWith("_mj")) return [label("_mj"), `${(value / 1e3).toFixed(1)} J`];
  if (name.endsWith("_uw")) return [label("_uw"), `${(value / 1e3).toFixed(2)} mW`];
  if (name.endsWith("_ua")) return [label("_ua"), `${count(value)} µA`];
  if (name.endsWith("_mv")) return [`${label("_mv")} voltage`, value <= 0 ? NONE : `${count(value)} mV`];
  if (name.endsWith("_ms")) return [label("_ms"), value > 1e12 ? stamp(value) : duration(value)];
  if (name.endsWith("_s")) return [label("_s"), duration(value * 1000)];
  if (name.endsWith("_ppm")) return [label("_ppm"), `${value} ppm`];
  if (name.endsWith("_q16")) return [label("_q16"), (value / 65536).toFixed(3)];
  return [name.replaceAll("_", " "), count(value)];
}
