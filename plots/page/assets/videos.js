// Videos of one prompt and length beside each other: one clock for all, and where blocks begin.
let playing = false, chosenSet = null, screens = [];
const speed = () => Number(byId("speed").value);
const lastFrame = () => chosenSet.frames - 1;
const frameAt = (seconds) => Math.max(0, Math.min(lastFrame(), Math.floor(seconds * chosenSet.fps + 1e-3)));
const middleOf = (frame) =>
    (frame + 0.5) / chosenSet.fps;  // of a frame: away from its borders, which rounding may miss

function tell(frame) {
  byId("seek").value = frame;
  byId("seek").setAttribute("aria-valuetext", `frame ${frame} of ${chosenSet.frames}`);
  byId("where").textContent = `frame ${frame} of ${chosenSet.frames} · ${(frame / chosenSet.fps).toFixed(2)} s`;
  for (const head of document.querySelectorAll(".play-head")) {
    const at = `calc(8px + (100% - 16px) * ${frame / Math.max(1, lastFrame())})`;
    head.setAttribute("style", `x: ${at}`);
  }
}

function seekOne(video, seconds) {
  if (video.readyState >= 2 && Math.abs(video.currentTime - seconds) < 1e-4 && !video.seeking) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      video.removeEventListener("seeked", done);
      video.removeEventListener("error", done);
      resolve();
    };
    video.addEventListener("seeked", done);
    video.addEventListener("error", done);
    video.currentTime = seconds;
  });
}
const seekAll = (frame) => {
  tell(frame);
  return Promise.all(screens.map((video) => seekOne(video, middleOf(frame))));
};

function setPlaying(now) {
  playing = now;
  byId("play").textContent = now ? "Pause" : "Play";
}

function pause(frame = frameAt(screens[0]?.currentTime ?? 0)) {
  setPlaying(false);
  screens.forEach((video) => video.pause());
  return seekAll(frame);  // paused, all show the same frame
}

async function play() {
  if (!screens.length) return;
  const set = chosenSet, at = Number(byId("seek").value);
  setPlaying(true);
  await seekAll(at >= lastFrame() ? 0 : at);
  if (!playing || chosenSet !== set) return;
  screens.forEach((video) => {
    video.playbackRate = speed();
  });
  try {
    await Promise.all(screens.map((video) => video.play()));
  } catch (error) {
    if (error.name !== "AbortError" && playing) {
      await pause();
      byId("where").textContent = error.message;
    }
    return;
  }
  requestAnimationFrame(() => follow(set));
}

/** The first video leads. One that is off by part of a frame goes a little faster or slower, by a frame it jumps. */
function follow(set) {
  if (!playing || chosenSet !== set) return;
  const lead = screens[0];
  if (lead.ended || frameAt(lead.currentTime) >= lastFrame()) {
    if (!byId("loop").checked) {
      pause(lastFrame());
      return;
    }
    screens.forEach((video) => video.pause());
    tell(0);
    play();
    return;
  }
  for (const video of screens.slice(1)) {
    const frames = (video.currentTime - lead.currentTime) * chosenSet.fps;
    const rate = speed() * (Math.abs(frames) < 0.1 ? 1 : frames > 0 ? 0.9 : 1.1);
    if (video.playbackRate !== rate) video.playbackRate = rate;
    if (Math.abs(frames) > 0.8 && !video.seeking) video.currentTime = lead.currentTime;
  }
  tell(frameAt(lead.currentTime));
  requestAnimationFrame(() => follow(set));
}

function caption(number) {
  const row = data.lines[number], line = row.line;
  const said =
      [["error_vs_single", "latents differ from single by "], ["quality.psnr_db", "PSNR with single "]]
          .map(([name, words]) => valueOf(line, name) === null ? null : words + show(name, valueOf(line, name)))
          .filter(Boolean);
  const content = valueOf(line, "quality.content");
  if (content !== null)
    said.push(
        `${Math.round(100 * content)} % of frames as asked` +
        (valueOf(line, "quality.content_first_frame") === 0 ? ", the first is not" : ""));
  return make(
      "figcaption", {},
      make(
          "button", {type: "button", class: "link", click: () => showDetail(number)},
          `${row.label}, ${plural(line.world_size ?? 1, "rank")}`),
      " ", badge(line.kind), make("br"), make("span", {class: "muted"}, [
        valueOf(line, "latency_s") === null ? null : show("latency_s", line.latency_s), ...said
      ].filter(Boolean).join(" · ")));
}

function screen(entry) {
  const label = data.lines[entry.line].label;
  if (!entry.source)
    return make(
        "figure", {class: "screen"}, make("p", {class: "absent"}, "The video’s file is missing."), caption(entry.line));
  const video = make(
      "video", {src: entry.source, preload: "auto", playsinline: "", "aria-label": `Video of ${label}`, tabindex: -1});
  video.muted = true;
  video.addEventListener("error", () => {
    screens = screens.filter((other) => other !== video);
    video.replaceWith(make("p", {class: "absent"}, "This browser cannot play the video."));
  });
  screens.push(video);
  return make("figure", {class: "screen"}, video, caption(entry.line));
}

function borderRow(entry) {
  const row = data.lines[entry.line],
        percent = (frame) => `calc(8px + (100% - 16px) * ${frame / Math.max(1, lastFrame())})`;
  const picture = make(
      "svg", {
        role: "img",
        "aria-label": `Blocks of ${row.label} begin at frames 0, ${entry.borders.join(", ")}`,
        click: (event) => {
          const box = picture.getBoundingClientRect();
          pause(Math.round(Math.max(0, Math.min(1, (event.clientX - box.left - 8) / (box.width - 16))) * lastFrame()));
        }
      },
      make("rect", {y: 5, height: 4, rx: 2, fill: colour("line"), style: "x: 8px; width: calc(100% - 16px)"}),
      ...[0, ...entry.borders].map(
          (frame) => make("rect", {y: 0, width: 2, height: 14, fill: colour("ink"), style: `x: ${percent(frame)}`})),
      make("rect", {
        class: "play-head",
        y: 0,
        width: 3,
        height: 14,
        fill: colour("accent"),
        style: `x: ${percent(Number(byId("seek").value))}`
      }));
  return make(
      "div", {class: "border-row"}, `${row.label}: blocks begin at frames 0, ${entry.borders.join(", ")}`, picture);
}

function showSet() {
  setPlaying(false);
  screens.forEach((video) => {
    video.pause();
    video.removeAttribute("src");
    video.load();
  });
  screens = [];
  chosenSet = data.sets[Number(byId("set").value)];
  byId("prompt").replaceChildren(
      make("q", {}, chosenSet.prompt || "no prompt"),
      make(
          "span", {class: "muted"},
          ` · ${plural(chosenSet.frames, "frame")}, seed ${chosenSet.seed ?? "unknown"}, ${chosenSet.model ?? ""}`));
  byId("screens").replaceChildren(...chosenSet.videos.map(screen));
  byId("seek").max = lastFrame();
  byId("borders").replaceChildren(...chosenSet.videos.filter((entry) => entry.borders.length).map(borderRow));
  tell(0);
}

function startVideos() {
  const named = data.sets.reduce((sum, set) => sum + set.videos.length, 0);
  data.sets = data.sets.filter((set) => set.videos.some((entry) => entry.source));
  byId("videos").hidden = !named;
  if (!data.sets.length) {
    byId("videos").replaceChildren(
        byId("videos-title"),
        make(
            "p", {class: "muted"},
            `The lines name ${plural(named, "video")}, but the files are not beside the results.`));
    return;
  }
  byId("set").replaceChildren(...data.sets.map(
      (set, i) => make(
          "option", {value: i},
          `${set.prompt || "no prompt"} · ${plural(set.frames, "frame")} · seed ${set.seed ?? "?"} · ${
              plural(set.videos.length, "video")}`)));
  byId("set").addEventListener("change", showSet);
  byId("play").addEventListener("click", () => playing ? pause() : play());
  byId("back").addEventListener("click", () => pause(Math.max(0, Number(byId("seek").value) - 1)));
  byId("forward").addEventListener("click", () => pause(Math.min(lastFrame(), Number(byId("seek").value) + 1)));
  byId("seek").addEventListener("input", () => pause(Number(byId("seek").value)));
  byId("speed").addEventListener("change", () => screens.forEach((video) => {
    video.playbackRate = speed();
  }));
  redrawers.push(
      () =>
          byId("borders").replaceChildren(...chosenSet.videos.filter((entry) => entry.borders.length).map(borderRow)));
  showSet();
}
