"""compare.py JSON TOLERANCE LINES...: compares what the programs in C print, path, class and probability, with `kiln predict --json`."""

import json
import struct
import sys


def f32(text):
    """A number as the program has it, however many digits are printed of it."""
    return struct.unpack("f", struct.pack("f", float(text)))[0]


def main():
    expected, tolerance, *files = sys.argv[1:]
    with open(expected) as file:
        records = [json.loads(line) for line in file]
    records = {record["image"]: record for record in records if "image" in record}
    for path in files:
        worst = count = 0
        with open(path) as file:
            for line in file:
                image, label, probability, *_ = line.rstrip("\n").split("\t")
                record = records[image]
                if label != record["label"]:
                    sys.exit(f"{path}: {image} is {label}, by the command line {record['label']}")
                worst = max(worst, abs(f32(probability) - f32(record["probability"])))
                count += 1
        if not count or worst > float(tolerance):
            sys.exit(f"{path}: {count} images, probabilities differ by up to {worst}")
        print(f"{path.rsplit('/', 1)[-1]}: {count} images as the command line, probabilities differ by up to {worst:.1e}")


main()
