"""pages.py PAGES SERVER IMAGES [--screenshots FOLDER]: uses the pages of `kiln export --web` in Chromium.

Golden vectors pass, and fail where one is damaged; digits are classified as by kiln's server, drawn ones as themselves. For each way of
preprocessing, the page gives the model the bytes that kiln does, of files without loss; of JPEG files, which a browser decodes in
its own way, probabilities stay within a bound. Nothing is asked of another host.
"""

import argparse
import base64
import functools
import http.server
import io
import json
import pathlib
import re
import shutil
import sys
import threading
import urllib.request

import numpy as np
from PIL import Image
from playwright.sync_api import expect, sync_playwright

sys.path.append(str(pathlib.Path(__file__).parent.parent / "check-serve"))
from page import DESKTOP, DIGITS, PHONE, TOO_WIDE, draw, opened  # noqa: E402

# Probabilities of two engines, of the same bytes.
EXACT = 1e-5
# Of JPEG files: the largest difference of a probability, and the mean one.
PHOTOGRAPH, MEAN = 0.05, 0.005


class Pages(http.server.SimpleHTTPRequestHandler):
    """A web server for files, as anybody has one."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *arguments):
        pass


def scene(width, height, seed):
    """A picture with smooth areas, edges and texture, as a photograph has."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    layers = [np.sin(x * a + y * b + c) for a, b, c in random.uniform(2, 40, (3, 3))]
    picture = np.stack(layers, -1) * 70 + 128 + random.normal(0, 6, (height, width, 3))
    for _ in range(12):
        top, left = random.integers(0, height), random.integers(0, width)
        picture[top:top + height // 4, left:left + width // 4] = random.integers(0, 256, 3)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def without_loss():
    """Images of many sizes and kinds, by name."""
    sizes = {"wide": (131, 57), "high": (61, 143), "small": (11, 9), "same": (29, 36), "large": (640, 427), "thin": (200, 3)}
    files = {f"{name}.png": encoded(scene(*size, seed), "PNG") for seed, (name, size) in enumerate(sizes.items())}
    files["gray.png"] = encoded(scene(90, 70, 20).convert("L"), "PNG")
    files["palette.gif"] = encoded(scene(80, 95, 21).quantize(60), "GIF")
    files["bitmap.bmp"] = encoded(scene(77, 50, 22), "BMP")
    files["lossless.webp"] = encoded(scene(64, 81, 23), "WEBP", lossless=True)
    # Lie on a side or are mirrored, by a tag that only some records follow.
    exif = Image.Exif()
    for orientation in range(2, 9):
        exif[0x0112] = orientation
        files[f"turned-{orientation}.png"] = encoded(scene(90, 40, 24), "PNG", exif=exif)
    files["turned.webp"] = encoded(scene(90, 40, 24), "WEBP", lossless=True, exif=exif)
    return files


def photographs():
    exif = Image.Exif()
    exif[0x0112] = 8
    files = {f"{seed}.jpg": encoded(scene(400, 300, seed), "JPEG", quality=90) for seed in range(30, 36)}
    files["turned.jpg"] = encoded(scene(300, 200, 40), "JPEG", quality=90, exif=exif)
    files["gray.jpg"] = encoded(scene(200, 300, 41).convert("L"), "JPEG", quality=85)
    return files


def by_server(server, model, image):
    """Probabilities by label, and the pixels that the model sees, of kiln's server."""
    request = urllib.request.Request(f"{server}/predict?model={model}&top=10&show_input=true", data=image)
    with urllib.request.urlopen(request) as response:
        prediction = json.load(response)["predictions"][0]
    return {entry["label"]: entry["probability"] for entry in prediction["top"]}, pixels_of(prediction["input"])


def pixels_of(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("RGB"))


def by_page(page, name, image):
    """The same of the page."""
    page.evaluate("document.getElementById('status').textContent = 'waiting'")
    page.locator("#file").set_input_files({"name": name, "mimeType": "", "buffer": image})
    expect(page.locator("#status")).not_to_have_text("waiting")
    rows = page.locator("#classes tbody tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('th').textContent, Number(row.querySelector('.number').dataset.probability)])")
    return dict(rows), pixels_of(page.locator("#seen").get_attribute("src"))


def apart(a, b):
    return max(abs(a[label] - b[label]) for label in a) if a.keys() == b.keys() else float("inf")


def damage(model):
    """Changes the pixels of a golden vector, in as many bytes."""
    found = re.search(rb'"pixels": ?"([A-Za-z0-9+/=]{400,})"', model)
    begin = found.start(1) + 100
    return model[:begin] + b"/" * 200 + model[begin + 200:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", type=pathlib.Path)
    parser.add_argument("server")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    names = sorted(folder.name for folder in arguments.pages.iterdir())
    damaged = arguments.pages / "damaged"
    shutil.copytree(arguments.pages / "digits", damaged)
    (damaged / "model.onnx").write_bytes(damage((damaged / "model.onnx").read_bytes()))

    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, directory=arguments.pages))
    threading.Thread(target=files.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{files.server_port}/"
    problems, asked = [], []
    with sync_playwright() as playwright:
        browser, page = opened(playwright, problems, asked)

        page.goto(f"{site}digits/")
        expect(page.locator("#about")).to_contain_text("10 golden vectors replayed here: passed", timeout=30_000)
        print(page.locator("#about").inner_text())
        worst = wrong = count = 0
        for folder in sorted(arguments.images.iterdir()):
            for file in sorted(folder.glob("*.png"))[:3]:
                expected, seen = by_server(arguments.server, "digits", file.read_bytes())
                found, pixels = by_page(page, file.name, file.read_bytes())
                worst = max(worst, apart(expected, found))
                wrong += not np.array_equal(seen, pixels)
                count += 1
        if wrong or worst > EXACT:
            problems.append(f"digits: {wrong} of {count} are seen otherwise, probabilities differ by up to {worst:.1e}")
        print(f"{count} digits: probabilities differ from the server's by up to {worst:.1e}")
        if "ms in this browser" not in page.locator("#times").inner_text():
            problems.append("no times")
        for digit, strokes in DIGITS.items():
            draw(page, strokes)
            expect(page.locator("#classes tr.first th")).to_have_text(digit)
        if arguments.screenshots:
            arguments.screenshots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=arguments.screenshots / "web-desktop.png", full_page=True)
        page.locator("#file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"hello"})
        expect(page.locator("#status")).to_have_text("x.png is not an image that this browser decodes.")
        page.locator("#camera").click()
        page.locator("#shoot").click()
        expect(page.locator("#classes")).to_be_visible()
        page.locator("#camera").click()
        page.set_viewport_size(PHONE)
        wide = page.evaluate(TOO_WIDE)
        if wide:
            problems.append(f"wider than a phone: {wide}")
        if arguments.screenshots:
            page.screenshot(path=arguments.screenshots / "web-phone.png", full_page=True)
        page.set_viewport_size(DESKTOP)

        page.goto(f"{site}damaged/")
        expect(page.locator("#about")).to_contain_text("This browser FAILED the model's golden vectors", timeout=30_000)
        page.locator("#file").set_input_files(sorted(arguments.images.glob("3/*.png"))[0])
        expect(page.locator("#photo")).to_be_visible()
        if page.locator("#classes").is_visible():
            problems.append("a model that failed its golden vectors classifies")

        exact, loss = without_loss(), photographs()
        worst, largest, sum_, compared = 0, 0, 0, 0
        for name in names:
            if name == "digits":
                continue
            page.goto(f"{site}{name}/")
            expect(page.locator("#about")).to_contain_text("golden vectors replayed here: passed", timeout=30_000)
            for file, image in exact.items():
                expected, seen = by_server(arguments.server, name, image)
                found, pixels = by_page(page, file, image)
                difference = apart(expected, found)
                worst = max(worst, difference)
                if not np.array_equal(seen, pixels) or difference > EXACT:
                    steps = np.abs(seen.astype(int) - pixels) if seen.shape == pixels.shape else np.array([999])
                    problems.append(f"{name}, {file}: {np.count_nonzero(steps)} values differ, by up to {steps.max()}; "
                                    f"probabilities by {difference:.1e}")
            for file, image in loss.items():
                difference = apart(by_server(arguments.server, name, image)[0], by_page(page, file, image)[0])
                largest, sum_, compared = max(largest, difference), sum_ + difference, compared + 1
                if difference > PHOTOGRAPH:
                    problems.append(f"{name}, {file}: probabilities differ by {difference:.1e}")
        if sum_ / compared > MEAN:
            problems.append(f"JPEG files: probabilities differ by {sum_ / compared:.1e} on average")
        print(f"{len(names) - 1} ways of preprocessing, {len(exact)} files without loss each: the model is given the same bytes, "
              f"probabilities differ by up to {worst:.1e}")
        print(f"{compared} JPEG files: probabilities differ by up to {largest:.1e}, {sum_ / compared:.1e} on average")
        browser.close()
    outside = [url for url in asked if not url.startswith((site, "data:", "blob:"))]
    if outside:
        problems.append(f"asked of others: {outside}")
    if problems:
        sys.exit("\n".join(problems))


main()
