# SPDX-License-Identifier: Apache-2.0
"""The page in headless Chromium, opened from the disk as a reader would."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from page_lines import BLOCKS, EVIL, FPS, FRAMES, line, make, make_video, some_lines, timeline
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

LONG = 120  # seconds after which a wait gives up: a loaded machine is slow, and nothing is measured by it


@pytest.fixture(scope="module")
def chromium():
    for program in ("chromium", "chromedriver"):
        assert shutil.which(program), f"{program} is missing: install tools/apt-packages-test.txt"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-extensions"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(LONG)
    driver.set_page_load_timeout(LONG)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("page")
    make_video(made / "videos" / "single.mp4", 20)
    make_video(made / "videos" / "dual parallel.mp4", 200)
    (made / "timelines").mkdir()
    (made / "timelines" / "d.json").write_text(json.dumps(timeline()))
    make(made, some_lines())
    return made


def until(driver, script: str):
    return WebDriverWait(driver, LONG, 0.1).until(lambda d: d.execute_script(f"return {script}"), message=script)


def look(driver, folder: Path, width: int = 1400, colours: str = "light") -> None:
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    media = {"features": [{"name": "prefers-color-scheme", "value": colours}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get((folder / "index.html").as_uri())
    plots = "[...document.querySelectorAll('section:not([hidden]) .plot')]"
    until(driver, plots + ".every(p => p.querySelector('.main-svg, .notice'))")


def column(driver, title: str) -> list[str]:
    return driver.execute_script("""
      const heads = [...document.querySelectorAll("#table thead th")].map(h => h.textContent);
      const at = heads.indexOf(arguments[0]);
      return [...document.querySelectorAll("#table tbody tr")].map(r => r.cells[at].textContent)""", title)


def press(driver, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


@pytest.mark.parametrize("width, colours", [(1400, "light"), (400, "dark")])
def test_it_loads_and_is_accessible(chromium, folder: Path, width: int, colours: str) -> None:
    chromium.get_log("browser")
    look(chromium, folder, width, colours)
    until(chromium, "[...document.querySelectorAll('video')].every(v => v.readyState >= 2)")
    assert chromium.get_log("browser") == []
    assert chromium.find_elements(By.CSS_SELECTOR, ".notice") == []
    assert len(chromium.find_elements(By.CSS_SELECTOR, "#plots .main-svg")) >= 3
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width, "wider than the window"
    for part in ("body", "#detail"):
        if part == "#detail":
            press(chromium, "#table tbody button")
        found = Axe().run(chromium, part, {"resultTypes": ["violations"]})
        said = [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in found["violations"]]
        assert said == [] and len(found["passes"]) > 10


def test_filter_and_sort(chromium, folder: Path) -> None:
    look(chromium, folder)
    assert chromium.find_element(By.ID, "count").text == "11 of 11 points"
    Select(chromium.find_element(By.CSS_SELECTOR, "#filters select")).select_by_value("dualparal")
    assert set(column(chromium, "Strategy")) == {"dualparal"} and len(column(chromium, "Strategy")) == 4
    assert chromium.find_element(By.ID, "count").text == "4 of 11 points"
    press(chromium, "#filters [type=reset]")
    until(chromium, "document.querySelectorAll('#table tbody tr').length === 11")
    button = next(b for b in chromium.find_elements(By.CSS_SELECTOR, "#table thead button") if b.text == "Latency")
    expected = ["1.5 s", "2.5 s", "3 s", "4 s", "5 s", "8 s", "12 s"]
    for direction, order in (("ascending", expected), ("descending", expected[::-1])):
        chromium.execute_script("arguments[0].click()", button)
        assert column(chromium, "Latency") == order + ["–"] * 4  # what has none comes last, both ways
        assert chromium.execute_script("return arguments[0].parentElement.ariaSort", button) == direction
    chromium.find_element(By.ID, "search").send_keys("memory")
    assert column(chromium, "Status") == ["out of memory"]


def test_failures_and_provenance(chromium, folder: Path) -> None:
    look(chromium, folder)
    assert "out of memory" in chromium.find_element(By.CSS_SELECTOR, "#missing tbody").text
    assert "too long for this machine" in chromium.find_element(By.CSS_SELECTOR, "#missing tbody").text
    press(chromium, '#table tr[data-line="2"] button')
    said = chromium.find_element(By.ID, "detail-body").text
    for word in ("0123abc", "c0ffee", "f00d", "some processor", "3.0e-7", "a red circle"):
        assert word in said
    press(chromium, "#close")
    assert not chromium.execute_script("return document.getElementById('detail').open")


SEEK = "const s = document.getElementById('seek'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
STEPS = """
const done = arguments[arguments.length - 1], videos = [...document.querySelectorAll("video")], seen = [];
document.getElementById("play").click();
const look = () => {
  const at = videos.map((video) => video.currentTime);
  if (!videos.some((video) => video.paused || video.seeking)) seen.push(at);
  if (seen.length > 5 && seen.at(-1)[0] - seen[0][0] > 1) done(seen);
  else requestAnimationFrame(look);
};
look();"""


def test_videos_play_and_seek_together(chromium, folder: Path) -> None:
    look(chromium, folder)
    until(chromium, "[...document.querySelectorAll('video')].every(v => v.readyState >= 2)")
    assert chromium.execute_script("return document.querySelectorAll('video').length") == 2
    seen = chromium.execute_async_script(STEPS)
    apart = sorted(abs(a - b) * FPS for a, b in seen)
    assert apart[-1 - len(apart) // 20] <= 1, f"frames apart while playing: {apart[-5:]}"
    press(chromium, "#play")
    times = "[...document.querySelectorAll('video')].map(v => [v.paused, v.seeking, v.currentTime])"
    until(chromium, f"{times}.every(([paused, seeking]) => paused && !seeking)")
    a, b = (state[2] for state in chromium.execute_script(f"return {times}"))
    assert a == b > 0
    chromium.execute_script(SEEK, 40)
    until(chromium, f"{times}.every(([, seeking, at]) => !seeking && Math.floor(at * {FPS}) === 40)")
    press(chromium, "#forward")
    until(chromium, f"{times}.every(([, seeking, at]) => !seeking && Math.floor(at * {FPS}) === 41)")
    assert f"frame 41 of {FRAMES}" in chromium.find_element(By.ID, "where").text
    borders = chromium.find_element(By.CSS_SELECTOR, "#borders svg")
    assert borders.accessible_name.endswith("begin at frames 0, 21, 37, 53")
    said = chromium.find_element(By.ID, "screens").text
    assert "PSNR with single 21.5 dB · 98 % of frames as asked, the first is not" in said and said.count("as asked") == 1


def test_timelines_zoom(chromium, folder: Path) -> None:
    look(chromium, folder)
    spans = "document.getElementById('timeline-plot').data.reduce((sum, t) => sum + t.x.length / 4, 0)"
    assert chromium.execute_script(f"return {spans}") == 11  # ten computations, a wait
    width = "(([from, to]) => to - from)(document.getElementById('timeline-plot').layout.xaxis.range)"
    before = chromium.execute_script(f"return {width}")
    press(chromium, "[data-zoom=in]")
    until(chromium, f"Math.abs({width} - {before / 2}) < 1e-9")


def test_nothing_from_lines_is_run(chromium, tmp_path: Path) -> None:
    where = {"model": EVIL, "provenance": {"cpu": EVIL}, "config": {"prompt": EVIL}}
    make(tmp_path, [line(EVIL, 33, 3.0, options=BLOCKS | {EVIL: EVIL}, **where), line("ring", 33, 5.0, **where),
                    line("fifo", 33, None, status="failed", error=EVIL)])
    look(chromium, tmp_path)
    press(chromium, "#table tbody button")
    chromium.execute_script("""document.querySelectorAll(".js-plotly-plot").forEach((plot) =>
      Plotly.Fx.hover(plot, [{curveNumber: 0, pointNumber: 0}]))""")
    until(chromium, "[...document.querySelectorAll('.hoverlayer')].some(h => h.textContent.includes('<b>bold'))")
    assert EVIL in chromium.find_element(By.ID, "detail-body").text
    assert chromium.execute_script("return window.hacked ?? null") is None
    assert chromium.find_elements(By.CSS_SELECTOR, "img") == []
