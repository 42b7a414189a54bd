"""page.py URL IMAGES [--screenshots FOLDER]: uses the page of `kiln serve` in Chromium: a digit that is drawn by script is
classified as itself, by mouse and by keyboard; files too; nothing is asked of another host, and the page fits a phone."""

import argparse
import pathlib
import shutil
import sys

from playwright.sync_api import expect, sync_playwright

SWITCHES = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

# Strokes in the unit square, as a hand draws them.
DIGITS = {
    "1": [[(0.5, 0.15), (0.5, 0.85)]],
    "7": [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]],
    "4": [[(0.35, 0.15), (0.3, 0.5), (0.68, 0.5)], [(0.65, 0.15), (0.63, 0.88)]],
    "0": [[(0.5, 0.15), (0.35, 0.25), (0.28, 0.5), (0.35, 0.75), (0.5, 0.85), (0.65, 0.75), (0.72, 0.5), (0.65, 0.25), (0.5, 0.15)]],
    "3": [[(0.33, 0.2), (0.5, 0.15), (0.65, 0.25), (0.6, 0.42), (0.47, 0.48), (0.62, 0.55), (0.68, 0.7), (0.52, 0.85), (0.32, 0.8)]],
}
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(element => element.outerHTML.slice(0, 80))"""


def draw(page, strokes):
    page.locator("#clear").click()
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    place = lambda point: (box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"])
    for stroke in strokes:
        page.mouse.move(*place(stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*place(point), steps=8)
        page.mouse.up()


def opened(playwright, problems, asked):
    """A browser and an empty page in it, of which errors are added to problems, and the URLs that are asked for to asked."""
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
    page = browser.new_page(viewport=DESKTOP)
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda raised: problems.append(str(raised)))
    page.on("request", lambda request: asked.append(request.url))
    return browser, page


def first_class(page):
    return page.locator("#classes tr.first th")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    problems, asked = [], []
    with sync_playwright() as playwright:
        browser, page = opened(playwright, problems, asked)
        page.goto(arguments.url)
        expect(page.locator("#about")).to_contain_text("digits")
        expect(page.locator("#draw")).to_be_visible()
        for digit, strokes in DIGITS.items():
            draw(page, strokes)
            expect(first_class(page)).to_have_text(digit)
        # What the model saw, at its size.
        size = page.locator("#seen").evaluate("image => [image.naturalWidth, image.naturalHeight]")
        if size != [28, 28]:
            problems.append(f"what the model saw is {size}")
        if "ms from here and back" not in page.locator("#times").inner_text():
            problems.append("no times")
        if arguments.screenshots:
            arguments.screenshots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=arguments.screenshots / "serve-desktop.png", full_page=True)

        # By keyboard alone: a 1, from the top down.
        page.locator("#clear").focus()
        page.keyboard.press("Enter")
        page.locator("#canvas").focus()
        for key in ["ArrowUp"] * 9 + [" "] + ["ArrowDown"] * 18 + ["Enter"]:
            page.keyboard.press(key)
        expect(first_class(page)).to_have_text("1")

        # Every control is reached by the tab key.
        page.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id"))
        missing = {"model", "canvas", "clear", "save", "fit", "dark", "file", "camera", "copy"} - reached
        if missing:
            problems.append(f"not reached by the tab key: {sorted(missing)}")

        # Files, whose curl is the same request.
        for folder in ("2", "8"):
            file = sorted((arguments.images / folder).glob("*.png"))[0]
            page.locator("#file").set_input_files(file)
            expect(first_class(page)).to_have_text(folder)
            curl = page.locator("#curl").inner_text()
            if f"'@{file.name}'" not in curl or "/predict?model=digits" not in curl:
                problems.append(f"curl: {curl}")
        # A file that is chosen before a drawing is classified takes its place.
        draw(page, DIGITS["1"])
        page.locator("#file").set_input_files(sorted((arguments.images / "2").glob("*.png"))[0])
        page.wait_for_timeout(600)
        expect(first_class(page)).to_have_text("2")
        page.locator("#file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"hello"})
        expect(page.locator("#status")).to_contain_text("not an image")

        page.locator("#camera").click()
        page.locator("#shoot").click()
        expect(page.locator("#classes")).to_be_visible()
        page.locator("#camera").click()

        page.locator("#model").select_option("second")
        expect(page.locator("#about")).to_contain_text("second")
        draw(page, DIGITS["7"])
        expect(first_class(page)).to_have_text("7")

        page.set_viewport_size(PHONE)
        wide = page.evaluate(TOO_WIDE)
        if wide:
            problems.append(f"wider than a phone: {wide}")
        if arguments.screenshots:
            page.screenshot(path=arguments.screenshots / "serve-phone.png", full_page=True)
        browser.close()
    outside = [url for url in asked if not url.startswith((arguments.url, "data:", "blob:"))]
    if outside:
        problems.append(f"asked of others: {outside}")
    # Chromium reports the answer 400 to the file that is no image.
    problems = [problem for problem in problems if "status of 400" not in problem]
    if problems:
        sys.exit("\n".join(problems))
    print(f"the page classifies {len(DIGITS)} drawn digits as themselves, by mouse and by keyboard, and asks no other host")


if __name__ == "__main__":
    main()
