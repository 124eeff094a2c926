// Where a point comes from: everything in its line, in a dialog.
const RESULT = [
  "latency_s", "interval", "first_block_s", "peak_memory_bytes", "reserved_bytes", "process_memory_bytes",
  "device_used_bytes", "host_cache_bytes", "sent_bytes", "flops", "bubble_ratio", "bubble_ratio_slots", "error_vs_single", "text_encode_s",
  "load_s", "decode_s", "total_s", "latency_without_memory_limit_s"
];
const RANK = ["compute_s", "communication_s", "idle_s", "sent_bytes", "peak_memory_bytes", "weights_bytes", "flops"];
const WHO = [
  "experiment", "point", "repeat", "model", "device", "dtype", "height", "width", "frames", "latent_frames", "steps",
  "seed", "world_size", "source_kind", "compute", "config_hash", "program_hash"
];

const plainText = (value) => value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);

function pairs(rows) {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–");
  return make(
      "dl", {class: "pairs"},
      ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, plainText(value))]));
}

function flat(object, prefix = "") {
  return Object.entries(object || {})
      .flatMap(
          ([name, value]) => value !== null && typeof value === "object" && !Array.isArray(value) ?
              flat(value, `${prefix}${name}.`) :
              [[prefix + name, value]]);
}

function ranksTable(ranks) {
  const columns = RANK.filter((name) => ranks.some((rank) => valueOf(rank, name) !== null));
  return make(
      "div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Ranks"},
      make(
          "table", {},
          make(
              "thead", {},
              make(
                  "tr", {}, make("th", {scope: "col"}, "Rank"),
                  ...columns.map(
                      (name) => make(
                          "th", {scope: "col", class: "number"},
                          name.replace(/_(s|bytes)$/, "").replaceAll("_", " "))))),
          make(
              "tbody", {},
              ...ranks.map(
                  (rank, number) => make(
                      "tr", {}, make("th", {scope: "row"}, String(number)),
                      ...columns.map((name) => make("td", {class: "number"}, show(name, rank[name]))))))));
}

function showDetail(number) {
  const row = data.lines[number], line = row.line, body = byId("detail-body");
  byId("detail-title")
      .replaceChildren(
          row.label, ` · ${line.frames ?? "?"} frames, ${plural(line.world_size ?? 1, "rank")} `, badge(line.kind));
  const parts = [];
  const part = (title, ...content) => parts.push(make("h3", {}, title), ...content);
  if (line.status !== "ok") {
    parts.push(make("p", {class: "notice"}, make("b", {}, row.reason), line.error ? `: ${line.error}` : ""));
  }
  part("Result", pairs([
         ...RESULT.map((name) => [name, show(name, valueOf(line, name))]),
         ["samples", (line.samples || []).length > 1 ? line.samples.map(short).join(", ") : null]
       ]));
  if (line.per_rank?.length) part("Ranks", ranksTable(line.per_rank));
  if (line.quality)
    part(
        "Quality",
        pairs(
            flat(line.quality).map(([name, value]) => [name, typeof value === "number" ? show(name, value) : value])));
  if (line.analytic_cost)
    part("By formula", pairs(flat(line.analytic_cost).map(([name, value]) => [name, show(name, value)])));
  part("Options of the strategy", pairs(Object.entries(line.options || {})));
  part("Provenance", pairs([
         ...WHO.map((name) => [name, line[name]]), ["hardware", row.hardware], ...flat(line.provenance),
         ...flat(line.cluster, "cluster.")
       ]));
  if (line.config) part("Configuration, as resolved", pairs(flat(line.config)));
  part(
      "The line", make("p", {}, make("a", {href: row.file}, "results.jsonl")),
      make("pre", {tabindex: 0}, JSON.stringify(line, null, 1)));
  body.replaceChildren(...parts);
  byId("detail").showModal();
  body.scrollTop = 0;
}
byId("close").addEventListener("click", () => byId("detail").close());
byId("detail").addEventListener("click", (event) => {
  if (event.target === byId("detail")) byId("detail").close();
});
