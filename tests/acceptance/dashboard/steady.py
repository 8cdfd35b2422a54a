"""Whether anything on a page jumps that nobody touched."""

from __future__ import annotations

from playwright.sync_api import Page

WATCH = """() => {
    window.jumps = [];
    window.watcher?.disconnect();
    const note = (found) => window.jumps.push(...found.filter((each) => !each.hadRecentInput));
    window.watcher = new PerformanceObserver((list) => note(list.getEntries()));
    window.watcher.observe({ type: "layout-shift" });
}"""
DRAWN = """() => new Promise((resolve) =>
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 50))))"""
TICKING = """() => [...document.querySelectorAll("p time:not([data-style=at])")]
    .filter((each) => (each.nextSibling?.textContent ?? "") !== "")
    .map((each) => each.parentElement.textContent)"""
TELL = """(besides) => {
    const at = ({ x, y, width, height }) => [x, y, width, height].map(Math.round).join(" ");
    const element = ({ node }) => (node instanceof Element ? node : node?.parentElement);
    const named = (part) => {
        const found = element(part);
        return found ? `${found.tagName.toLowerCase()}.${found.getAttribute("class")}` : "?";
    };
    // Marks that a style sheet makes have no element: they go with the others.
    const meant = (part) => !element(part) || (besides !== "" && element(part).closest(besides));
    const expected = ({ sources }) => sources.some(element) && sources.every(meant);
    return window.jumps.filter((each) => !expected(each)).map((each) =>
        `${each.value.toFixed(5)}: ` + each.sources.map((part) =>
            `${named(part)} from ${at(part.previousRect)} to ${at(part.currentRect)}`).join("; "));
}"""


def watch(page: Page) -> None:
    """Look from now on."""
    page.evaluate(WATCH)


def watch_loading(page: Page) -> None:
    """Look from the start of every document that the page opens."""
    page.add_init_script(f"({WATCH})()")


def jumps(page: Page, besides: str = "") -> list[str]:
    """What has moved since without anybody having pressed anything: how much, from where to where.

    Args:
        besides: a selector of what may move, with all that is in it.
    """
    page.evaluate(DRAWN)
    return [str(each) for each in page.evaluate(TELL, besides)]


def ticking(page: Page) -> list[str]:
    """Sentences in which a moment is told anew with words behind it, which it would push."""
    return [str(each) for each in page.evaluate(TICKING)]


def ask_now(page: Page) -> None:
    """Let everything that polls ask at once, as it does when a network comes back."""
    page.evaluate("window.dispatchEvent(new Event('online'))")
