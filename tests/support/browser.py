"""A real browser on the live page: what it loaded, what it said, and what a person without eyes or a mouse would meet."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}

HERE = Path(__file__).parent
NAMES = (HERE / "names.js").read_text()
OUTLINE = """() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return [outlineStyle, parseFloat(outlineWidth)];
}"""
CONTRAST = (HERE / "contrast.js").read_text()


def launched(playwright: Playwright) -> Browser:
    """The Chromium that `infra/browser.sh` finds."""
    script = HERE.parents[1] / "infra" / "browser.sh"
    found = subprocess.run([script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox", "--disable-gpu"])


class Viewer:
    """The live page in a browser. `close` asserts that it complained of nothing and loaded nothing from elsewhere."""

    def __init__(self, browser: Browser, url: str, size: str = "desk", **context: Any) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.context = browser.new_context(viewport=SIZES[size], **context)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.set_default_timeout(10_000)
        self.page.goto(url)
        self.page.locator("#link", has_text="Live").wait_for()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith(self.url):
            self.elsewhere.append(url)

    def press_to(self, selector: str, key: str = "Tab", most: int = 120) -> None:
        """Go to an element with the keyboard alone."""
        for _ in range(most):
            if self.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
            self.page.keyboard.press(key)
        raise AssertionError(f"{selector} cannot be reached with {key}")

    def focus_is_visible(self) -> bool:
        """Whether a person sees where the focus is."""
        line, width = self.page.evaluate(OUTLINE)
        return bool(line != "none" and width >= 2)

    def close(self) -> None:
        """End, having complained of nothing."""
        self.context.close()
        assert self.complaints == []
        assert self.elsewhere == []
