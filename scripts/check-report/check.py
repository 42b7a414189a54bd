"""Opens kiln's pages in Chromium and checks what only a browser can: that every picture is drawn, that nothing is
downloaded, that the page fits a phone, and that it prints.

usage: check.py PAGE... [--pictures FOLDER] [--screenshots FOLDER]
"""

import argparse
import io
import pathlib
import shutil

from PIL import Image
from playwright.sync_api import sync_playwright

SWITCHES = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
# A4 minus margins of 10 mm, at 96 pixels per inch.
PAPER = {"width": 718, "height": 1047}

# Every picture, as the browser drew it.
PICTURES = """async () => Promise.all([...document.querySelectorAll('svg, img')].map(async picture => {
    const box = picture.getBoundingClientRect();
    const outside = [...picture.querySelectorAll('text')].filter(text => {
        const at = text.getBoundingClientRect();
        return at.left < box.left - 1 || at.top < box.top - 1 || at.right > box.right + 1 || at.bottom > box.bottom + 1;
    });
    const images = picture.tagName === 'IMG' ? [picture.src] : [...picture.querySelectorAll('image')].map(i => i.href.baseVal);
    const decoded = await Promise.all(images.map(async source => {
        const image = new Image();
        image.src = source;
        await image.decode().catch(() => {});
        return image.naturalWidth > 0;
    }));
    return {
        name: picture.alt || picture.closest('figure')?.querySelector('figcaption')?.textContent || picture.tagName,
        drawn: box.width > 0 && box.height > 0 && decoded.every(Boolean) && (picture.tagName !== 'IMG' || picture.complete),
        outside: outside.map(text => text.textContent),
    };
}))"""

# Elements wider than the window, except those that scroll.
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(element => !element.parentElement.closest('.wide, pre'))
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(element => element.outerHTML.slice(0, 80))"""

# Elements truncated on paper, where nothing scrolls.
CUT = """() => [...document.querySelectorAll('.wide, pre')]
    .filter(element => element.scrollWidth > element.clientWidth + 1)
    .map(element => `${element.scrollWidth} > ${element.clientWidth}: ${element.outerHTML.slice(0, 200)}`)"""


class Tab:
    """A page that records everything it should not do."""

    def __init__(self, browser, path, **settings):
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.trouble = []
        allowed = path.as_uri()
        self.page.on("console", lambda message: self.trouble.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.trouble.append(f"failed: {request.url[:100]}"))
        self.page.on(
            "request",
            lambda request: request.url == allowed
            or request.url.startswith("data:")
            or self.trouble.append(f"request: {request.url}"),
        )
        self.page.goto(allowed, wait_until="load")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.context.close()
        if exception[0] is None:
            assert not self.trouble, self.trouble


def colors(png):
    return len(Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 24))


def check_pictures(page):
    pictures = page.evaluate(PICTURES)
    assert pictures, "the page has no pictures"
    for picture in pictures:
        assert picture["drawn"], f"not drawn: {picture}"
        assert not picture["outside"], f"truncated text: {picture}"
    for element in page.query_selector_all("svg, img"):
        assert colors(element.screenshot()) > 2, f"invisible: {element.inner_html()[:200]}"
    return len(pictures)


def check_links(page, folder):
    for link in page.query_selector_all("a"):
        target = folder / link.get_attribute("href")
        assert target.is_file(), f"{target} is linked but missing"


def check_page(browser, path, shoot):
    with Tab(browser, path, viewport=DESKTOP) as tab:
        count = check_pictures(tab.page)
        check_links(tab.page, path.parent)
        shoot(tab.page, "desktop")
        assert not tab.page.evaluate(TOO_WIDE), tab.page.evaluate(TOO_WIDE)
    with Tab(browser, path, viewport=DESKTOP, color_scheme="dark") as tab:
        background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(int(part) for part in background[4:-1].split(",")) < 150, f"not dark: {background}"
        check_pictures(tab.page)
        shoot(tab.page, "dark")
    with Tab(browser, path, viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True) as tab:
        width = tab.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{width} pixels wide on a phone"
        assert not tab.page.evaluate(TOO_WIDE), tab.page.evaluate(TOO_WIDE)
        shoot(tab.page, "phone")
    with Tab(browser, path, viewport=PAPER) as tab:
        tab.page.emulate_media(media="print")
        assert not tab.page.evaluate(CUT), tab.page.evaluate(CUT)
        shoot(tab.page, "print")
        pdf = tab.page.pdf(format="A4", margin={side: "10mm" for side in ["top", "right", "bottom", "left"]})
        assert pdf.startswith(b"%PDF-") and pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page>") >= 1
    print(f"{path}: {count} pictures, all drawn; fits a phone and paper; nothing downloaded")


def check_file(browser, path):
    """Checks that a picture file opens in the browser and as an image."""
    with Tab(browser, path, viewport=DESKTOP) as tab:
        if path.suffix == ".svg":
            assert tab.page.evaluate("document.documentElement.tagName") == "svg", path
            assert not tab.page.query_selector("parsererror"), path
        else:
            assert tab.page.evaluate("document.images[0].naturalWidth") > 0, path
            assert colors(path.read_bytes()) > 2, f"{path} is empty"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    parser.add_argument("--pictures", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    args = parser.parse_args()
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Without a user data folder, each start creates an empty one.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
        for path in args.pages:
            def shoot(page, name, path=path):
                if args.screenshots:
                    page.screenshot(path=args.screenshots / f"{path.parent.name}-{name}.png", full_page=True)

            check_page(browser, path.resolve(), shoot)
        if args.pictures:
            files = sorted(args.pictures.iterdir())
            assert files, f"{args.pictures} is empty"
            for path in files:
                check_file(browser, path.resolve())
            print(f"{args.pictures}: {', '.join(path.name for path in files)}")
        browser.close()


main()
