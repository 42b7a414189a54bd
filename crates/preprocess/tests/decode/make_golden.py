"""Small image files of each kind, and the pixels that Pillow makes of them: golden.json.

python make_golden.py    (with the packages of requirements.txt)
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 19, 13


def picture(mode):
    """A smooth picture, as photographs are, with hard edges in a corner."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    planes = [127 + 120 * np.sin(x / 5 + c) * np.cos(y / 4 - c) for c in range(4)]
    pixels = np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)
    pixels[:4, :4] = [250, 10, 30, 200]
    count = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    return Image.fromarray(pixels[..., :count].squeeze(), mode) if mode != "L" else Image.fromarray(pixels[..., 0])


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(samples, bits, interpretation, order="<", sample_format=1, colors=None, inverted=False):
    """An uncompressed TIFF of one sample a pixel, its rows given as bytes."""
    data = samples
    entries = [(256, 3, [WIDTH]), (257, 3, [HEIGHT]), (258, 3, [bits]), (259, 3, [1]), (262, 3, [interpretation]),
               (273, 4, ["data"]), (277, 3, [1]), (278, 3, [HEIGHT]), (279, 4, [len(data)]), (339, 3, [sample_format])]
    if colors is not None:
        entries.append((320, 3, list(colors)))
    entries.sort()
    start = 8 + 2 + 12 * len(entries) + 4
    extra, directory = b"", struct.pack(order + "H", len(entries))
    size = {3: 2, 4: 4}
    long_ones = sum(size[kind] * len(values) for _, kind, values in entries if size[kind] * len(values) > 4)
    for tag, kind, values in entries:
        values = [start + long_ones if v == "data" else v for v in values]
        packed = struct.pack(order + "HI"[kind - 3] * len(values), *values)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", start + len(extra)), extra + packed
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return magic + directory + b"\0" * 4 + extra + data


def packed(values, bits):
    """Rows of values of so many bits, each row filled up to whole bytes."""
    rows = []
    for row in values:
        number = "".join(f"{int(v):0{bits}b}" for v in row)
        number += "0" * (-len(number) % 8)
        rows.append(int(number, 2).to_bytes(len(number) // 8, "big"))
    return b"".join(rows)


def rgb16_png(values):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def without_tables(data):
    """A JPEG without its Huffman tables, as frames of motion JPEG."""
    left, at = data[:2], 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        left += b"" if data[at + 1] == 0xC4 else data[at : at + length]
        at += length
    return left + data[at:]


def main():
    rgb, gray = picture("RGB"), picture("L")
    palette = rgb.quantize(32)
    exif = Image.Exif()
    exif[0x0112] = 6
    cmyk = saved(picture("CMYK"), "JPEG", quality=90)
    adobe = cmyk.index(b"Adobe")
    ycck = cmyk[: adobe + 11] + b"\2" + cmyk[adobe + 12 :]
    gif = saved(palette, "GIF")
    larger = gif[:6] + struct.pack("<HH", WIDTH + 5, HEIGHT + 3) + gif[10:]
    frame = gif.index(b"\x2c\0\0\0\0")
    moved = larger[: frame + 1] + struct.pack("<HH", 4, 2) + larger[frame + 5 :]
    beyond = gif[:6] + struct.pack("<HH", 7, 5) + gif[10:]
    second = rgb.rotate(180).quantize(32)
    levels4 = np.array(gray) // 16
    levels2 = np.array(gray) // 64
    wide = np.array(gray).astype(np.uint16) * 257 - 90
    colors = [int(v) * 257 for v in np.linspace([0, 255, 10], [255, 30, 200], 16).astype(int).T.flatten()]
    files = {
        "png gray": saved(gray, "PNG"),
        "png gray and alpha": saved(picture("LA"), "PNG"),
        "png bits": saved(gray.convert("1"), "PNG"),
        "png rgb": saved(rgb, "PNG"),
        "png rgba": saved(picture("RGBA"), "PNG"),
        "png palette": saved(palette, "PNG"),
        "png palette with transparency": saved(palette, "PNG", transparency=3),
        "png 16-bit rgb": rgb16_png(np.array(rgb).astype(np.uint16) * 257 - 90),
        "png 16-bit gray": saved(Image.fromarray(wide), "PNG"),
        "gif": gif,
        "gif interlaced": saved(palette, "GIF", interlace=1),
        "gif gray": saved(gray, "GIF"),
        "gif with transparency": saved(palette, "GIF", transparency=palette.getpixel((0, 0))),
        "gif animated": saved(palette, "GIF", save_all=True, append_images=[second], duration=50),
        "gif within a larger screen": moved,
        "gif beyond its screen": beyond,
        "bmp": saved(rgb, "BMP"),
        "bmp palette": saved(palette, "BMP"),
        "bmp bits": saved(gray.convert("1"), "BMP"),
        "webp lossless": saved(rgb, "WEBP", lossless=True),
        "webp": saved(rgb, "WEBP", quality=90),
        "tiff gray": saved(gray, "TIFF"),
        "tiff bits": saved(gray.convert("1"), "TIFF"),
        "tiff rgb lzw": saved(rgb, "TIFF", compression="tiff_lzw"),
        "tiff rgba": saved(picture("RGBA"), "TIFF"),
        "tiff palette": saved(palette, "TIFF"),
        "tiff palette deflate": saved(palette, "TIFF", compression="tiff_adobe_deflate"),
        "tiff 4-bit palette": tiff(packed(levels4, 4), 4, 3, colors=colors),
        "tiff 4-bit palette big-endian": tiff(packed(levels4, 4), 4, 3, order=">", colors=colors),
        "tiff 4-bit gray": tiff(packed(levels4, 4), 4, 1),
        "tiff 2-bit gray": tiff(packed(levels2, 2), 2, 1),
        "tiff 16-bit gray": saved(Image.fromarray(wide), "TIFF"),
        "tiff cmyk": saved(picture("CMYK"), "TIFF"),
        "tiff 12-bit gray": tiff(packed(np.array(gray) * 16.0, 12), 12, 1),
        "tiff 32-bit": saved(Image.fromarray(np.array(gray).astype(np.int32) * 1000), "TIFF"),
        "tiff float": saved(Image.fromarray(np.array(gray).astype(np.float32) / 255), "TIFF"),
        "tiff lab": saved(Image.new("LAB", (WIDTH, HEIGHT)), "TIFF"),
        "jpeg gray": saved(gray, "JPEG", quality=95),
        "jpeg 4:4:4": saved(rgb, "JPEG", quality=95, subsampling=0),
        "jpeg 4:2:2": saved(rgb, "JPEG", quality=95, subsampling=1),
        "jpeg 4:2:0": saved(rgb, "JPEG", quality=95, subsampling=2),
        "jpeg progressive": saved(rgb, "JPEG", quality=95, progressive=True),
        "jpeg rgb": saved(rgb, "JPEG", quality=95, keep_rgb=True),
        "jpeg cmyk": cmyk,
        "jpeg ycck": ycck,
        "jpeg restarts": saved(rgb, "JPEG", quality=95, restart_marker_blocks=1),
        "jpeg without tables": without_tables(saved(rgb, "JPEG", quality=95)),
        "jpeg turned": saved(rgb, "JPEG", quality=95, exif=exif),
        "png turned": saved(rgb, "PNG", exif=exif),
        "webp turned": saved(rgb, "WEBP", lossless=True, exif=exif),
        "tiff turned": saved(rgb, "TIFF", exif=exif),
    }
    refused = {
        "tiff 12-bit gray": "a TIFF of 12-bit samples",
        "tiff 32-bit": "a TIFF of 32-bit signed samples",
        "tiff float": "a TIFF of 32-bit floating-point samples",
        "tiff lab": "a TIFF in the color space CIE L*a*b*",
    }
    cases = []
    for name, data in files.items():
        case = {"name": name, "file": data.hex()}
        if name in refused:
            cases.append({**case, "refused": refused[name]})
            continue
        image = Image.open(io.BytesIO(data))
        # Of 16-bit gray samples Pillow keeps the values and cuts off at 255; kiln takes the high byte.
        if "16-bit gray" in name:
            image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
        as_rgb, as_gray = image.convert("RGB"), image.convert("L")
        cases.append({**case, "width": image.width, "height": image.height,
                      "orientation": image.getexif().get(0x0112, 1),
                      "rgb": as_rgb.tobytes().hex(), "gray": as_gray.tobytes().hex()})
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("golden.json").write_text(f"[\n{lines}\n]\n")


main()
