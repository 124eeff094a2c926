// What every rank did and when: ranks as rows, blocks in colours, waits as thin lines.
const SHADES = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"];
const timelineScripts = new Map();  // by line: what its script said
let awaited = new Map();
window.showTimeline = (number, timeline) => {
  timelineScripts.set(number, timeline);
  awaited.get(number)?.(timeline);
};

function loadTimeline(entry) {
  if (timelineScripts.has(entry.line)) return Promise.resolve(timelineScripts.get(entry.line));
  return new Promise((resolve, reject) => {
    if (!entry.script) {
      reject(new Error(entry.error));
      return;
    }
    awaited.set(entry.line, resolve);
    document.head.append(make(
        "script", {src: entry.script, error: () => reject(new Error(`${entry.script} is missing beside this page`))}));
  });
}

/** Spans as one broken line: a trace of thousands is then drawn at once. [x, y, hovertext] with gaps. */
function broken(spans) {
  const trace = {x: [], y: [], hovertext: []};
  for (const [begin, duration, row, words] of spans) {
    trace.x.push(begin / 1e6, (begin + duration / 2) / 1e6, (begin + duration) / 1e6, null);
    trace.y.push(row, row, row, null);
    trace.hovertext.push(words, words, words, "");
  }
  return trace;
}

function timelineTraces(timeline) {
  const blocks =
      1 + Math.max(0, ...timeline.ranks.map((rank) => rank.compute.reduce((most, span) => Math.max(most, span[2]), 0)));
  const shades = SHADES.map(() => []), waits = [];
  timeline.ranks.forEach(({rank, compute, waits: waited}, row) => {
    for (const [begin, duration, block, step] of compute) {
      const shade = blocks === 1 ? 2 : Math.round(Math.max(0, block) / (blocks - 1) * (SHADES.length - 1));
      shades[shade].push([
        begin, duration, row,
        `rank ${rank}: block ${block}, step ${step}<br>${short(duration / 1e3)} ms from ${(begin / 1e6).toFixed(4)} s`
      ]);
    }
    for (const [begin, duration, peer] of waited) {
      waits.push([
        begin, duration, row + 0.42,
        `rank ${rank} waits for rank ${peer}<br>${short(duration / 1e3)} ms from ${(begin / 1e6).toFixed(4)} s`
      ]);
    }
  });
  const style = {type: "scatter", mode: "lines", hoverinfo: "text"};
  return [
    ...shades.map((spans, i) => ({...style, ...broken(spans), line: {color: SHADES[i], width: 20, simplify: false}})),
    {...style, ...broken(waits), line: {color: "#d55e00", width: 4, simplify: false}}
  ].filter((trace) => trace.x.length);
}

async function drawTimeline() {
  const entry = data.timelines[Number(byId("timeline").value)], place = byId("timeline-plot"),
        line = data.lines[entry.line].line;
  try {
    const [Plotly, timeline] = await Promise.all([plotly(), loadTimeline(entry)]);
    if (entry !== data.timelines[Number(byId("timeline").value)]) return;  // another was chosen meanwhile
    if (!timeline.ranks.length) throw new Error("This timeline holds no computation.");
    const idle = [["bubble_ratio", "idle"], ["bubble_ratio_slots", "idle by slots"]]
                     .filter(([name]) => valueOf(line, name) !== null)
                     .map(([name, words]) => `${words} ${(100 * valueOf(line, name)).toFixed(1)} %`);
    byId("timeline-note").replaceChildren(badge(line.kind), ` ${idle.join(", ")}`);
    place.style.height = `${100 + 44 * timeline.ranks.length}px`;
    await Plotly.react(
        place, timelineTraces(timeline), {
          ...LAYOUT(),
          margin: {l: 8, r: 16, t: 28, b: 8},
          dragmode: "zoom",
          height: 100 + 44 * timeline.ranks.length,
          xaxis: {...AXIS(), title: {text: "seconds since denoising began", font: {size: 12}}, rangemode: "tozero"},
          yaxis: {
            ...AXIS(),
            showgrid: false,
            fixedrange: true,
            range: [timeline.ranks.length - 0.35, -0.6],
            tickvals: timeline.ranks.map((_, row) => row),
            ticktext: timeline.ranks.map(({rank}) => `rank ${rank}`),
            ticks: ""
          }
        },
        {...CONFIG, scrollZoom: false});
  } catch (error) {
    if (window.Plotly) window.Plotly.purge(place);
    notice(place, error);
    byId("timeline-note").textContent = "";
  }
}

function zoomTimeline(how) {
  const place = byId("timeline-plot");
  if (!place.layout) return;
  if (how === "all") {
    window.Plotly.relayout(place, {"xaxis.autorange": true});
    return;
  }
  const [from, to] = place.layout.xaxis.range, width = to - from, middle = (from + to) / 2;
  const next = {in: [middle - width / 4, middle + width / 4], out: [middle - width, middle + width],
    left: [from - width / 2, to - width / 2], right: [from + width / 2, to + width / 2]}[how];
  window.Plotly.relayout(place, {"xaxis.range": next});
}

function startTimelines() {
  if (!data.timelines.length) return;
  byId("timeline").replaceChildren(...data.timelines.map((entry, i) => {
    const row = data.lines[entry.line];
    return make("option", {value: i}, [
      row.label, plural(row.line.frames ?? 0, "frame"), plural(row.line.world_size ?? 1, "rank"), row.line.kind,
      row.line.kind === "simulated" ? row.hardware : null
    ].filter(Boolean).join(" · "));
  }));
  const best = data.timelines.map((entry, i) => [data.lines[entry.line].line, i])
                   .filter(([line]) => line.strategy === "dualparal")
                   .sort(([a], [b]) => b.world_size - a.world_size)[0];
  if (best) byId("timeline").value = String(best[1]);
  byId("timeline").addEventListener("change", drawTimeline);
  document.querySelectorAll("[data-zoom]")
      .forEach((button) => button.addEventListener("click", () => zoomTimeline(button.dataset.zoom)));
  redrawers.push(drawTimeline);
  drawTimeline();
}
