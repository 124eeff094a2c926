// What the other scripts stand on. Everything from lines becomes text or attributes that hold no code: never HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes (a function is a listener, null is left out) and children (strings become text). */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "rect", "circle"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const badge = (kind) => make("span", {class: `badge ${kind}`}, kind);

/** A number of a line by its dotted name; null where there is none. As plots/results.py reads them. */
const LARGEST_OF_RANKS = {
  peak_memory_bytes: "peak_memory_bytes",
  compute_s: "compute_s",
  rank_flops: "flops"
};
function valueOf(line, name) {
  let found = line;
  for (const part of name.split(".")) found = found && typeof found === "object" ? found[part] : null;
  if (found == null && name in LARGEST_OF_RANKS && Array.isArray(line.per_rank)) {
    const ranks =
        line.per_rank.map((rank) => rank && rank[LARGEST_OF_RANKS[name]]).filter((v) => typeof v === "number");
    found = ranks.length ? Math.max(...ranks) : null;
  }
  return typeof found === "number" ? found : null;
}

const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]];
const byteUnit = (largest) => UNITS.find(([, size]) => largest >= size) || ["B", 1];
const short = (number) => Math.abs(number) >= 100 ?
    Math.round(number).toLocaleString("en") :
    Number(number.toPrecision(3)).toLocaleString("en", {maximumFractionDigits: 6});

/** By the unit in the field's name. */
function show(name, number) {
  if (number === null || number === undefined) return "–";
  if (name.endsWith("_bytes")) {
    const [unit, size] = byteUnit(Math.abs(number));
    return `${short(number / size)} ${unit}`;
  }
  if (name.endsWith("_s")) return `${short(number)} s`;
  if (name.endsWith("_db")) return `${number.toFixed(1)} dB`;
  if (name.endsWith("flops")) return number.toExponential(2);
  if (name.startsWith("error") || name.endsWith("_error")) return number === 0 ? "0" : number.toExponential(1);
  return short(number);
}

const TITLES = {
  latency_s: "Latency",
  peak_memory_bytes: "Peak memory of a rank",
  sent_bytes: "Sent by all ranks",
  flops: "Operations of all ranks",
  compute_s: "Computing, busiest rank",
  first_block_s: "Time to the first block",
  decode_s: "Decoding",
  bubble_ratio: "Idle share",
  bubble_ratio_slots: "Idle share by slots",
  error_vs_single: "Error against single",
  "quality.psnr_db": "PSNR against single",
  "quality.ssim": "SSIM with single",
  "quality.latent_relative_error": "Error of latents against single",
};
const titleOf = (name) => TITLES[name] ||
    (name.startsWith("quality.") ? `Quality: ${name.slice(8).replaceAll("_", " ")}` : name.replaceAll("_", " "));
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Plotly reads a little HTML in its texts. */
const forPlotly = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** Black cannot be seen on a dark ground. */
const visible = (hex) => hex === "#000000" ? colour("ink") : hex;

/** The chart library, loaded once and when it is first needed. */
let library = null;
function plotly() {
  library ||= new Promise((resolve, reject) => {
    const script = make("script", {
      src: "page/plotly.min.js",
      load: () => resolve(window.Plotly),
      error: () => reject(new Error("page/plotly.min.js is missing beside this page: no charts"))
    });
    document.head.append(script);
  });
  return library;
}
const notice = (place, error) => place.replaceChildren(make("p", {class: "notice"}, error.message || String(error)));

const LAYOUT = () => ({
  paper_bgcolor: "rgba(0,0,0,0)",
  plot_bgcolor: "rgba(0,0,0,0)",
  showlegend: false,
  hovermode: "closest",
  autosize: true,
  font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink")},
  modebar: {bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink")},
  hoverlabel: {
    bgcolor: colour("card"),
    bordercolor: colour("strong-line"),
    font: {color: colour("ink"), size: 13},
    align: "left"
  },
});
const AXIS = () => ({
  gridcolor: colour("line"),
  linecolor: colour("strong-line"),
  zeroline: false,
  automargin: true,
  ticks: "outside",
  tickcolor: colour("line")
});
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]]
};
const redrawers = [];  // called when colours change
