// All points: sorted by a column, filtered by what they are; and those that failed or were skipped.
const psnr = (line) => valueOf(line, "quality.psnr_db");
const detailButton = (row, number) => make(
    "button", {type: "button", class: "link", title: "Where this point comes from", click: () => showDetail(number)},
    row.label);
const figureColumn = (name, title, optional = false) => ({
  title,
  number: true,
  optional,
  value: (row) => valueOf(row.line, name),
  cell: (row) => show(name, valueOf(row.line, name))
});
const COLUMNS =
    [
      {title: "Strategy", value: (row) => row.label, cell: detailButton, head: true},
      {title: "Kind", value: (row) => row.line.kind, cell: (row) => badge(row.line.kind)},
      {
        title: "Frames",
        number: true,
        value: (row) => row.line.frames ?? null,
        cell: (row) => row.line.frames?.toLocaleString("en") ?? "–"
      },
      {
        title: "Ranks",
        number: true,
        value: (row) => row.line.world_size ?? null,
        cell: (row) => String(row.line.world_size ?? "–")
      },
      figureColumn("latency_s", "Latency"),
      figureColumn("peak_memory_bytes", "Peak memory"),
      figureColumn("sent_bytes", "Sent", true),
      figureColumn("flops", "Operations", true),
      figureColumn("bubble_ratio", "Idle", true),
      figureColumn("error_vs_single", "Error vs single", true),
      figureColumn("quality.psnr_db", "PSNR", true),
      {
        title: "Setting",
        optional: true,
        long: true,
        value: (row) => data.panels[row.panel]?.title ?? row.line.model ?? "",
        cell: (row) => data.panels[row.panel] ?
            `${data.panels[row.panel].title.replace(/^\w+: /, "")}, ${row.hardware ?? "no machine"}` :
            row.line.model ?? "–"
      },
      {
        title: "Status",
        value: (row) => row.reason ?? "ok",
        cell: (row) => make("span", {class: row.reason ? "bad" : "good"}, row.reason ?? "ok")
      },
    ].filter((column) => !column.number || data.lines.some((row) => column.value(row) !== null))
        .filter((column) => column.title !== "Setting" || data.panels.length > 1);

const FILTERS = [
  {title: "Strategy", of: (row) => row.line.strategy},
  {title: "Frames", of: (row) => row.line.frames, number: true},
  {title: "Ranks", of: (row) => row.line.world_size, number: true},
  {title: "Kind", of: (row) => row.line.kind},
  {title: "Status", of: (row) => row.line.status},
  {title: "Machine", of: (row) => row.hardware},
  {title: "Model", of: (row) => row.line.model},
];
const classOf = (column) => ["number", "optional", "long"].filter((name) => column[name]).join(" ") || null;
let sorted = {column: -1, down: false}, order = data.lines.map((_, number) => number);
const rows = data.lines.map((row, number) => {
  const cells = COLUMNS.map(
      (column) => make(
          column.head ? "th" : "td", {class: classOf(column), scope: column.head ? "row" : null},
          column.cell(row, number)));
  return make("tr", {"data-line": number}, ...cells);
});

/** What is not there comes last, whichever way the column is sorted. */
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  const before = typeof a === "number" && typeof b === "number" ?
      a - b :
      String(a).localeCompare(String(b), "en", {numeric: true});
  return sorted.down ? -before : before;
}

function sortBy(column) {
  sorted = {column, down: sorted.column === column && !sorted.down};
  const values = data.lines.map((row) => COLUMNS[column].value(row));
  order.sort((a, b) => compare(values[a], values[b]) || a - b);
  byId("table").tHead.rows[0].querySelectorAll("th").forEach((head, i) => {
    if (i === column) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  filter();
}

function filter() {
  const chosen = FILTERS.map((f) => f.select?.value ?? ""),
        words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = order.filter((number) => {
    const row = data.lines[number];
    return FILTERS.every((f, i) => chosen[i] === "" || String(f.of(row) ?? "") === chosen[i]) &&
        words.every((word) => row.searched.includes(word));
  });
  byId("table").tBodies[0].replaceChildren(...shown.map((number) => rows[number]));
  byId("count").textContent = `${shown.length.toLocaleString("en")} of ${plural(data.lines.length, "point")}`;
}

function startTable() {
  byId("table").tHead.rows[0].replaceChildren(...COLUMNS.map(
      (column, i) => make(
          "th", {scope: "col", class: classOf(column)},
          make("button", {type: "button", click: () => sortBy(i)}, column.title))));
  for (const row of data.lines)
    row.searched =
        `${row.label} ${row.line.strategy} ${row.line.error ?? ""} ${row.line.config?.prompt ?? ""}`.toLowerCase();
  const fields = FILTERS.map((f, i) => {
    const values = [...new Set(data.lines.map(f.of).filter((v) => v !== null && v !== undefined))];
    if (values.length < 2) return null;
    values.sort((a, b) => f.number ? a - b : String(a).localeCompare(String(b)));
    f.select = make(
        "select", {id: `filter-${i}`, change: filter}, make("option", {value: ""}, "all"),
        ...values.map((v) => make("option", {value: v}, f.number ? v.toLocaleString("en") : String(v))));
    return make("div", {class: "field"}, make("label", {for: `filter-${i}`
                }, f.title), f.select);
  });
  const search = make("input", {type: "search", id: "search", input: filter});
  const reset = make("button", {type: "reset"}, "Clear");
  byId("filters").append(
      ...fields.filter(Boolean),
      make("div", {class: "field"}, make("label", {for: "search"
           }, "Words"), search), make("div", {class: "field"}, make("span", {"aria-hidden": "true"}, "\u00a0"), reset));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(filter));
  filter();
}

function startMissing() {
  const missing = data.lines.map((row, number) => [row, number]).filter(([row]) => row.line.status !== "ok");
  byId("missing").hidden = !missing.length;
  byId("missing").querySelector("tbody").replaceChildren(...missing.map(
      ([row, number]) => make(
          "tr", {}, make("th", {scope: "row"}, detailButton(row, number)), make("td", {class: "bad"}, row.line.status),
          make("td", {}, badge(row.line.kind)),
          make("td", {class: "number"}, row.line.frames?.toLocaleString("en") ?? "–"),
          make("td", {class: "number"}, String(row.line.world_size ?? "–")),
          make("td", {class: "long"}, row.line.error || "no reason given"))));
}
