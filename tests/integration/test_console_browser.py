# SPDX-License-Identifier: Apache-2.0
"""The console in a real browser: headless Chromium, driven by its own driver."""

import asyncio
import re
import shutil
import struct
import threading
import zlib

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from lib import tokens
from lib.agent import Agent
from lib.waiting import wait_until
from lib.ws_raw import plain_home  # noqa: F401 (a fixture for the whole module)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def agent():
    agent = Agent(console="true")
    if agent.anonymous.get("/console/console.js").status_code == 404:
        agent.close()
        pytest.skip("built without the console")
    yield agent
    agent.close()


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--window-size=1280,800",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(shutil.which("chromedriver") or "chromedriver is missing")
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


class Page:
    """What a user does and sees."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url
        # Nothing of an earlier page: neither its log nor what it stored.
        driver.get("about:blank")
        driver.get_log("browser")
        self.open()
        self.script("sessionStorage.clear()")
        self.open()

    def open(self):
        self.driver.get(f"{self.url}/")
        wait_until(lambda: self.get("source").get_attribute("value"), "the page's script", timeout=20)

    def get(self, name):
        return self.driver.find_element(By.ID, name)

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def text(self, name):
        return self.script("return document.getElementById(arguments[0]).textContent", name)

    def wait_for(self, name, text, timeout=20.0):
        wait_until(lambda: text in self.text(name), lambda: f"{text!r} in {self.text(name)!r}", timeout)

    def type(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def press(self, modifier, key):
        ActionChains(self.driver).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def paste_token(self, token=None):
        self.get("token").clear()
        self.get("token").send_keys(tokens.token() if token is None else token)

    def connect(self, session=""):
        self.paste_token()
        self.get("session").send_keys(session)
        self.get("connect").click()
        self.wait_for("terminal-status", "connected to session" if session else "connected")
        wait_until(self.lines, "a prompt", timeout=20)

    def lines(self):
        """What the terminal shows, without empty lines."""
        rows = self.script(
            "return [...document.querySelectorAll('#terminal .xterm-rows > div')].map((row) => row.textContent)"
        )
        return [row.replace("\u00a0", " ").rstrip() for row in rows if row.strip("\u00a0 ")]

    def wait_for_line(self, line, timeout=20.0):
        wait_until(lambda: line in self.lines(), lambda: f"{line!r} among {self.lines()}", timeout)

    def run(self, code, language="python"):
        Select(self.get("language")).select_by_value(language)
        self.script("document.getElementById('source').value = arguments[0]", code)
        self.get("run").click()

    def wait_for_end(self):
        wait_until(lambda: self.get("run").is_enabled(), lambda: self.text("run-status"), 30)
        return self.text("run-status")

    def log(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def page(chromium, agent):
    """A fresh page; the test fails if the browser complained about anything, a violated policy above all."""
    page = Page(chromium, agent.url)
    yield page
    assert page.log() == []


def expect_picture(data, width, height):
    """A PNG of at least this size whose pixels are not all the same."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) >= (width, height)
    position, packed = 8, b""
    while position < len(data):
        (size,) = struct.unpack(">I", data[position : position + 4])
        if data[position + 4 : position + 8] == b"IDAT":
            packed += data[position + 8 : position + 8 + size]
        position += size + 12
    rows = zlib.decompress(packed)
    assert len(rows) > width * height
    # A page of one colour packs into next to nothing.
    assert len(packed) > len(rows) / 1000
    assert len(set(rows)) > 50


def test_the_terminal_echoes(page, tmp_path):
    page.connect()
    page.type("echo hi", Keys.ENTER)
    page.wait_for_line("hi")

    picture = tmp_path / "console.png"
    assert page.driver.save_screenshot(str(picture))
    expect_picture(picture.read_bytes(), 1000, 600)


def test_colours_are_shown_although_inline_styles_are_forbidden(page):
    page.connect()
    page.type(r"printf '\e[38;2;1;200;3mgr''een\e[0m\n\e[31mre''d\e[0m\n'", Keys.ENTER)
    page.wait_for_line("green")
    page.wait_for_line("red")
    colors = page.script(
        "return Object.fromEntries([...document.querySelectorAll('#terminal .xterm-rows span')]"
        ".map((span) => [span.textContent, getComputedStyle(span).color]))"
    )
    assert colors["green"] == "rgb(1, 200, 3)"
    assert colors["red"] == "rgb(240, 113, 120)" or colors["red"] == "rgb(179, 38, 30)"


def test_the_terminal_has_the_size_that_is_shown(page):
    page.connect()
    page.driver.set_window_size(1100, 600)
    try:
        rows = wait_until(
            lambda: (n := page.script("return document.querySelectorAll('#terminal .xterm-rows > div').length")) < 30
            and n,
            "a lower terminal",
        )
        page.type("stty size", Keys.ENTER)
        wait_until(
            lambda: any(line.startswith(f"{rows} ") for line in page.lines()), lambda: f"{rows} rows: {page.lines()}"
        )
    finally:
        page.driver.set_window_size(1280, 800)


def test_earlier_output_can_be_scrolled_to(page):
    page.connect()
    page.type("seq 1000 1200; echo the' 'end", Keys.ENTER)
    page.wait_for_line("the end")
    assert "1000" not in page.lines()
    terminal = page.get("terminal")

    def is_at_the_start():
        ActionChains(page.driver).scroll_from_origin(ScrollOrigin.from_element(terminal), 0, -20000).perform()
        return "1000" in page.lines()

    wait_until(is_at_the_start, lambda: page.lines())


def test_a_large_paste_arrives(page):
    page.connect()
    page.type("stty -echo; echo rea''dy; wc -c", Keys.ENTER)
    page.wait_for_line("ready")
    page.script(
        "const data = new DataTransfer(); data.setData('text/plain', ('x'.repeat(999) + '\\n').repeat(100));"
        "document.querySelector('#terminal textarea').dispatchEvent("
        "new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))"
    )
    page.press(Keys.CONTROL, "d")
    page.wait_for_line("100000")


def test_the_end_of_the_shell_is_told(page):
    page.connect()
    page.type("exit 3", Keys.ENTER)
    page.wait_for_line("[ended with exit code 3]")
    page.wait_for("terminal-status", "ended")
    assert page.text("connect") == "Connect"
    page.get("connect").click()
    page.wait_for("terminal-status", "connected")


def test_code_runs(page):
    page.paste_token()
    page.run("import sys\nprint(6 * 7, flush=True)\nprint('<b>oops</b>', file=sys.stderr)\nsys.exit(3)")
    assert re.fullmatch(r"exit code 3, \d+\.\d\d s", page.wait_for_end())
    assert sorted(page.text("output").splitlines()) == ["42", "<b>oops</b>"]
    errors = page.driver.find_elements(By.CSS_SELECTOR, "#output .stderr")
    assert "".join(span.text for span in errors).strip() == "<b>oops</b>"
    assert page.get("run-status").get_attribute("data-state") == "bad"


def test_the_keyboard_is_enough(page):
    """From the token to the result without a mouse, and out of the terminal again."""
    page.get("token").send_keys(tokens.token(), Keys.ENTER)
    page.wait_for("terminal-status", "connected")
    wait_until(lambda: page.script("return document.activeElement.closest('#terminal') !== null"), "a focused terminal")
    page.press(Keys.CONTROL, Keys.F6)
    assert page.script("return document.activeElement.id") == "source"
    page.press(Keys.CONTROL, "a")
    page.type("print('typed')")
    page.press(Keys.CONTROL, Keys.ENTER)
    page.wait_for("output", "typed")
    assert page.wait_for_end().startswith("exit code 0")


def test_output_is_shown_while_the_code_runs_and_stop_ends_it(page):
    page.paste_token()
    page.run("import time\nprint('started', flush=True)\ntime.sleep(600)")
    page.wait_for("output", "started")
    assert page.text("run-status") == "running …"
    assert not page.get("run").is_enabled()
    page.get("stop").click()
    page.wait_for_end()
    assert page.get("run-status").get_attribute("data-state") == "bad"
    assert not page.get("stop").is_enabled()


def test_a_flood_leaves_the_page_small(page):
    page.paste_token()
    page.run("for n in range(300000): print('line', n)\nprint('the', 'end')")
    assert page.wait_for_end().startswith("exit code 0")
    page.wait_for("output", "the end")
    output = page.text("output")
    assert output.startswith("[earlier output is not shown]\n")
    assert output.endswith("line 299998\nline 299999\nthe end\n")
    assert len(output) < 300 * 1024


@pytest.mark.parametrize("name", ["connect", "run"])
def test_errors_are_told_in_words(chromium, agent, name):
    page = Page(chromium, agent.url)
    page.get(name).click()
    page.wait_for("message", "Paste a token first")
    page.paste_token("nonsense")
    page.get(name).click()
    page.wait_for("message", "This is no token")
    assert page.log() == []

    page.paste_token(tokens.token(secret="z" * 32))
    page.get(name).click()
    page.wait_for("message", "Invalid or expired token")
    page.paste_token(tokens.token(ttl=-3600))
    page.get(name).click()
    page.wait_for("message", "token expired")
    # The browser notes the two answers with status 401, and nothing else.
    refused = []
    wait_until(lambda: refused.extend(page.log()) or len(refused) >= 2, lambda: f"two notes: {refused}")
    assert len(refused) == 2 and all("401" in message for message in refused)

    page.paste_token()
    page.get(name).click()
    wait_until(lambda: not page.get("message").is_displayed(), "the message's end")
    page.wait_for("terminal-status" if name == "connect" else "run-status", "connected" if name == "connect" else "exit")
    assert page.log() == []


def test_the_token_is_kept_only_when_asked_for(page):
    stored = "return JSON.stringify([{...sessionStorage}, {...localStorage}, location.href, document.cookie])"
    token = tokens.token()
    page.paste_token(token)
    page.get("run").click()
    page.wait_for_end()
    assert token not in page.script(stored)
    page.open()
    assert page.get("token").get_attribute("value") == ""

    page.paste_token(token)
    page.get("remember").click()
    assert page.script("return Object.values(sessionStorage)") == [token]
    assert token not in page.script("return JSON.stringify([{...localStorage}, location.href, document.cookie])")
    page.open()
    assert page.get("token").get_attribute("value") == token
    page.get("remember").click()
    assert token not in page.script(stored)


def test_every_control_has_a_label(page):
    nameless = page.script(
        "return [...document.querySelectorAll('input, select, textarea, button')].filter((control) =>"
        " !control.labels?.length && !control.ariaLabel && !control.textContent.trim()).map((e) => e.outerHTML)"
    )
    assert nameless == []


@pytest.mark.parametrize("scheme, background", [("dark", "rgb(22, 24, 29)"), ("light", "rgb(243, 244, 247)")])
def test_a_phone_shows_all_of_it(page, tmp_path, scheme, background):
    emulate = page.driver.execute_cdp_cmd
    emulate(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        page.open()
        page.connect()
        page.type("echo hi", Keys.ENTER)
        page.wait_for_line("hi")
        assert page.script("return getComputedStyle(document.body).backgroundColor") == background
        assert page.script("return document.documentElement.scrollWidth") == 390
        outside = page.script(
            "return [...document.querySelectorAll('input, select, textarea, button, pre')].filter((e) =>"
            " e.closest('.xterm') === null && (e.getBoundingClientRect().right > innerWidth"
            " || e.getBoundingClientRect().left < 0)).map((e) => e.id)"
        )
        assert outside == []
        page.driver.save_screenshot(str(tmp_path / "phone.png"))
    finally:
        emulate("Emulation.clearDeviceMetricsOverride", {})
        emulate("Emulation.setEmulatedMedia", {"features": []})


class Wire:
    """Forwards a port to the agent, and can be cut."""

    def __init__(self, port):
        self.target = port
        self.transports = set()
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    async def _serve(self, reader, writer):
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self.transports |= {writer.transport, other_writer.transport}
        await asyncio.gather(self._copy(reader, other_writer), self._copy(other_reader, writer))

    async def _copy(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self):
        """As a lost network does it: no close frame, all connections at once."""

        def abort():
            for transport in self.transports:
                transport.abort()
            self.transports.clear()

        self.loop.call_soon_threadsafe(abort)

    def close(self):
        async def end():
            self.server.close()
            for transport in self.transports:
                transport.abort()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def test_a_session_continues_after_the_connection_was_lost(chromium, agent):
    wire = Wire(agent.port)
    try:
        page = Page(chromium, f"http://127.0.0.1:{wire.port}")
        page.connect(session="cut")
        page.type("for i in $(seq 20); do echo line $i; sleep 0.1; done; echo all' 'done", Keys.ENTER)
        page.wait_for_line("line 3")
        wire.cut()
        page.wait_for_line("all done", timeout=30)
        page.wait_for("terminal-status", "connected to session cut")
        assert [line for line in page.lines() if line.startswith("line ")] == [f"line {n}" for n in range(1, 21)]
        page.type("exit", Keys.ENTER)
        page.wait_for("terminal-status", "ended")
    finally:
        wire.close()


def test_a_terminal_without_a_session_tells_that_it_is_gone(chromium, agent):
    wire = Wire(agent.port)
    try:
        page = Page(chromium, f"http://127.0.0.1:{wire.port}")
        page.connect()
        wire.cut()
        page.wait_for("terminal-status", "the connection was lost")
        told = "without a session name the terminal is gone"
        wait_until(lambda: any(told in line for line in page.lines()), lambda: page.lines())
    finally:
        wire.close()
