// Colours, then the table, since it needs no library, then what is drawn.
const redraw = () => redrawers.forEach((again) => again());
const stored = (() => {
  try {
    return localStorage.getItem("dualparal-theme") || "";
  } catch {
    return "";
  }
})();
function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}
theme(stored);
byId("theme").value = stored;
byId("theme").addEventListener("change", () => {
  theme(byId("theme").value);
  try {
    localStorage.setItem("dualparal-theme", byId("theme").value);
  } catch { /* a browser without storage forgets it */
  }
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

startTable();
startMissing();
startVideos();
byId("timelines").hidden = !data.timelines.length;
byId("charts").hidden = !data.panels.length;
byId("sections").replaceChildren(...[...document.querySelectorAll("main > section:not([hidden])")].map((section) => {
  const words = {answer: "Answer", kinds: "How to read it"}[section.id] || section.querySelector("h2").textContent;
  return make("li", {}, make("a", {href: `#${section.id}`}, words));
}));
requestAnimationFrame(() => setTimeout(() => {
                        startCharts();
                        startTimelines();
                      }));
