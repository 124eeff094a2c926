// Charts of one setting: a figure against frames or ranks, a line for each strategy, a cross for each failed point.
const CANDIDATES = [
  "latency_s", "peak_memory_bytes", "sent_bytes", "flops", "compute_s", "first_block_s", "decode_s", "bubble_ratio",
  "bubble_ratio_slots", "error_vs_single"
];
const QUALITY_FIRST = ["quality.psnr_db", "quality.content", "quality.seam_ratio", "quality.drift"];
const MARKS = {
  circle: "●",
  square: "■",
  "triangle-up": "▲",
  diamond: "◆",
  "triangle-down": "▼",
  cross: "✚",
  x: "✖",
  "triangle-left": "◀",
  "triangle-right": "▶",
  pentagon: "⬟"
};
const HOLLOW = {
  circle: "○",
  square: "□",
  "triangle-up": "△",
  diamond: "◇",
  "triangle-down": "▽",
  "triangle-left": "◁",
  "triangle-right": "▷",
  pentagon: "⬠"
};
const STROKES = {
  solid: null,
  dash: "6 4",
  dot: "2 3",
  dashdot: "6 3 2 3"
};
const dashOf = (panel, series) => series.dash === "solid" ? KIND_DASH[panel.kind] || "solid" : series.dash;
const linesOf = (panel) => panel.series.flatMap((series) => series.lines.map((number) => data.lines[number].line));

function metricsOf(panel) {
  const lines = linesOf(panel).filter((line) => line.status === "ok");
  const quality = [...new Set(lines.flatMap((line) => flat(line.quality, "quality.").map(([name]) => name)))];
  return [...CANDIDATES, ...quality].filter((name) => lines.some((line) => valueOf(line, name) !== null));
}

/** By x: the lines that are done and have the figure, or that failed and say what they would have needed. */
function gather(series, metric, x, done, only) {
  const points = new Map();
  for (const number of series.lines) {
    const line = data.lines[number].line, at = line[x];
    const name = !done && metric === "latency_s" ? "latency_without_memory_limit_s" : metric,
          value = valueOf(line, name);
    if ((line.status === "ok") !== done || value === null || !at || !only(line)) continue;
    points.set(at, [...(points.get(at) || []), {number, value}]);
  }
  return [...points].sort((a, b) => a[0] - b[0]);
}

function hover(series, metric, at, x, found) {
  const values = found.map((one) => one.value), low = Math.min(...values), high = Math.max(...values);
  const first = data.lines[found[0].number];
  return [
    `<b>${forPlotly(series.label)}</b>`, `${titleOf(metric)}: ${show(metric, median(values))}`,
    found.length > 1 ? `${found.length} runs, ${show(metric, low)} to ${show(metric, high)}` : null,
    `${plural(first.line.frames ?? 0, "frame")}, ${plural(series.ranks, "rank")}, ${first.line.kind}`,
    first.line.status === "ok" ? null : forPlotly((first.line.error || first.reason).slice(0, 90))
  ].filter(Boolean)
      .join("<br>");
}

/** What a line of the chart joins: a series, or against ranks all series that differ in their ranks alone. */
function groupsOf(panel, x) {
  const groups = new Map();
  for (const series of panel.series) {
    const key = x === "frames" ? `${series.label}|${series.ranks}` : series.label;
    if (!groups.has(key)) groups.set(key, {...series, lines: []});
    groups.get(key).lines.push(...series.lines);
  }
  return [...groups.values()];
}

const KIND_DASH = {
  measured: null,
  emulated: "dashdot",
  traced: "dot",
  simulated: "dash"
};
function traces(panel, metric, x, unit) {
  const longest = Math.max(...linesOf(panel).map((line) => line.frames ?? 0));
  const only = x === "frames" ? () => true : (line) => line.frames === longest;
  const drawn = [];
  for (const series of groupsOf(panel, x)) {
    const ink = visible(series.colour);
    for (const done of [true, false]) {
      const points = gather(series, metric, x, done, only);
      if (!points.length) continue;
      const values = points.map(([, found]) => median(found.map((one) => one.value)) / unit);
      const spread = (pick, sign) =>
          points.map(([, found], i) => sign * (pick(...found.map((one) => one.value)) / unit - values[i]));
      drawn.push({
        type: "scatter",
        mode: done ? "lines+markers" : "markers",
        x: points.map(([at]) => at),
        y: values,
        cliponaxis: false,
        customdata: points.map(([, found]) => found[0].number),
        hoverinfo: "text",
        hovertext: points.map(
            ([at, found]) =>
                hover({...series, ranks: data.lines[found[0].number].line.world_size}, metric, at, x, found)),
        error_y: {
          type: "data",
          symmetric: false,
          array: spread(Math.max, 1),
          arrayminus: spread(Math.min, -1),
          thickness: 1,
          width: 3,
          visible: done && points.some(([, found]) => found.length > 1),
          color: ink
        },
        line: {color: ink, width: 2, dash: dashOf(panel, series)},
        marker: {
          size: done ? 8 : 10,
          symbol: done ? series.symbol + (series.hollow ? "-open" : "") : "x-thin-open",
          color: ink,
          line: {width: done ? 1.5 : 2.5, color: ink}
        }
      });
    }
  }
  return drawn;
}

/** At 1, 2, 5 of each power of ten; of many powers at 1 alone. */
function logTicks(values, spread) {
  const from = Math.floor(Math.log10(Math.min(...values))), to = Math.ceil(Math.log10(Math.max(...values)));
  const ticks = [];
  for (let power = from; power <= to; ++power)
    ticks.push(...(spread > 200 ? [1] : [1, 2, 5]).map((digit) => digit * 10 ** power));
  return {tickvals: ticks, ticktext: ticks.map((tick) => tick >= 1e6 ? tick.toExponential(0) : short(tick))};
}

async function drawChart(place, panel, metric) {
  const Plotly = await plotly(), x = byId("axis").value, chosen = byId("scale").value;
  const all = linesOf(panel).map((line) => valueOf(line, metric)).filter((v) => v !== null);
  const [unitName, unit] = metric.endsWith("_bytes") ?
      byteUnit(Math.max(...all)) :
      [metric.endsWith("_s")      ? "s" :
           metric.endsWith("_db") ? "dB" :
                                    "",
       1];
  const drawn = traces(panel, metric, x, unit), ys = drawn.flatMap((trace) => trace.y),
        xs = [...new Set(drawn.flatMap((trace) => trace.x))].sort((a, b) => a - b);
  const wide = (values) => Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 8;
  const spread = Math.max(...ys) / Math.min(...ys), log = chosen === "log" || (chosen === "auto" && wide(ys)),
        logX = wide(xs);
  const room = place.clientWidth / 46, every = Math.ceil(xs.length / Math.max(2, room)),
        ticks = xs.filter((_, i) => (xs.length - 1 - i) % every === 0);
  const layout = {
    ...LAYOUT(),
    margin: {l: 8, r: 16, t: 30, b: 8},
    yaxis: {
      ...AXIS(),
      type: log ? "log" : "linear",
      rangemode: metric.startsWith("quality.") ? "normal" : "tozero",
      ...(log ? logTicks(ys, spread) : {}),
      title: {text: unitName, standoff: 10, font: {size: 12}}
    },
    xaxis: {
      ...AXIS(),
      type: logX ? "log" : "linear",
      tickvals: ticks,
      ticktext: ticks.map((v) => v.toLocaleString("en")),
      title: {text: x === "frames" ? "frames" : "ranks", font: {size: 12}}
    }
  };
  if (metric === "peak_memory_bytes" && panel.device_memory) {
    const at = panel.device_memory / unit;
    layout.shapes = [{
      type: "line",
      xref: "paper",
      x0: 0,
      x1: 1,
      y0: at,
      y1: at,
      line: {color: colour("bad"), width: 1.5, dash: "dash"}
    }];
    layout.annotations = [{
      xref: "paper",
      x: 0,
      y: log ? Math.log10(at) : at,
      text: "memory of a device",
      showarrow: false,
      xanchor: "left",
      yanchor: "bottom",
      font: {color: colour("bad"), size: 12}
    }];
  }
  await Plotly.react(place, drawn, layout, CONFIG);
  if (!place.listens) place.on("plotly_click", (event) => showDetail(event.points[0].customdata));
  place.listens = true;
}

function drawLegend(panel) {
  const x = byId("axis").value;
  byId("legend").replaceChildren(...groupsOf(panel, x).map(
      (series) => make(
          "li", {}, make("svg", {viewBox: "0 0 26 10", "aria-hidden": "true"}, make("line", {
                           x1: 0,
                           x2: 26,
                           y1: 5,
                           y2: 5,
                           stroke: visible(series.colour),
                           "stroke-width": 2,
                           "stroke-dasharray": STROKES[dashOf(panel, series)]
                         })),
          make(
              "span", {class: "swatch", style: `color:${visible(series.colour)}`, "aria-hidden": "true"},
              (series.hollow && HOLLOW[series.symbol]) || MARKS[series.symbol] || "●"),
          x === "frames" ? `${series.label}, ${plural(series.ranks, "rank")}` : series.label)));
}

function drawPanel() {
  const panel = data.panels[Number(byId("panel").value)], metrics = metricsOf(panel);
  byId("panel-note").replaceChildren(badge(panel.kind), ` ${panel.subtitle}`);
  const preferred = [
    ["latency_s", "compute_s", "flops"], ["peak_memory_bytes", "sent_bytes"],
    [...QUALITY_FIRST, "sent_bytes", "bubble_ratio"]
  ];
  const taken = [];
  const charts = preferred.map((wanted, i) => {
    const metric = [...wanted, ...metrics].find((name) => metrics.includes(name) && !taken.includes(name));
    if (!metric) return null;
    taken.push(metric);
    const place = make("div", {class: "plot"});
    const redraw = () => drawChart(place, panel, select.value).catch((error) => notice(place, error));
    const select = make(
        "select", {id: `metric-${i}`, change: redraw},
        ...metrics.map((name) => make("option", {value: name}, titleOf(name))));
    select.value = metric;
    return {redraw, element: make("figure", {class: "chart"}, make("div", {class: "controls"},
      make("label", {for: `metric-${i}`, class: "hidden"}, `Figure of chart ${i + 1}`), select), place)};
  }).filter(Boolean);
  byId("plots").replaceChildren(...charts.map((chart) => chart.element));
  if (!charts.length) byId("plots").append(make("p", {class: "muted"}, "No point of this setting has a figure to draw."));
  drawLegend(panel);
  charts.forEach((chart) => chart.redraw());
}

function startCharts() {
      if (!data.panels.length) return;
      byId("panel").replaceChildren(...data.panels.map(
          (panel, i) => make("option", {value: i}, [
            panel.title, panel.subtitle,
            data.panels.some((other) => other.experiment !== panel.experiment) ? panel.experiment : null
          ].filter(Boolean).join(" · "))));
      byId("panel").value = String(data.first_panel);
      for (const id of ["panel", "axis", "scale"]) byId(id).addEventListener("change", drawPanel);
      document.querySelectorAll("[data-panel]").forEach((button) => button.addEventListener("click", () => {
        byId("panel").value = button.dataset.panel;
        drawPanel();
        byId("charts").scrollIntoView();
        byId("panel").focus({preventScroll: true});
      }));
      redrawers.push(drawPanel);
      drawPanel();
}
