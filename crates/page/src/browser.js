// The browser computes, by ONNX Runtime Web: a model that takes uint8 pixels, with everything that the page has to know of it
// among its metadata (docs/metadata.md).
import * as ort from './ort/ort.wasm.min.mjs';

// Without workers, which a page would need headers of its server for.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = {
    mjs: new URL('./ort/ort-wasm-simd-threaded.mjs', import.meta.url).href,
    wasm: new URL('./ort/ort-wasm-simd-threaded.wasm', import.meta.url).href,
};

// Reads the texts `metadata_props` of a file: field 14 of ONNX's message `ModelProto`, pairs of a key (1) and a value (2).
function metadataOf(bytes) {
    const fields = function* (from, end) {
        const number = () => {
            let value = 0, factor = 1, byte;
            do {
                if (from >= end) throw new Error('the model\'s file ends in the middle');
                byte = bytes[from++];
                value += (byte & 127) * factor;
                factor *= 128;
            } while (byte > 127);
            return value;
        };
        while (from < end) {
            const key = number(), kind = key % 8;
            if (kind === 0) {
                number();
            } else if (kind === 2) {
                const length = number();
                yield [Math.floor(key / 8), from, from + length];
                from += length;
            } else if (kind === 1 || kind === 5) {
                from += kind === 1 ? 8 : 4;
            } else {
                throw new Error(`the model's file has a field of kind ${kind} before byte ${from}`);
            }
        }
    };
    const text = new TextDecoder(), found = {};
    for (const [field, from, end] of fields(0, bytes.length)) {
        if (field !== 14) continue;
        const pair = { 1: '', 2: '' };
        for (const [part, begin, last] of fields(from, end)) pair[part] = text.decode(bytes.subarray(begin, last));
        found[pair[1]] = pair[2];
    }
    return found;
}

// The model of the page, and where its runs stand in line: a session computes one at a time.
let session = null, spec = null, line = Promise.resolve();

async function load() {
    const response = await fetch('model.onnx');
    if (!response.ok) throw new Error(`model.onnx: ${response.status} ${response.statusText}`);
    const bytes = new Uint8Array(await response.arrayBuffer()), metadata = metadataOf(bytes);
    const json = key => metadata[key] === undefined ? null : JSON.parse(metadata[key]);
    const record = json('kiln.preprocessing'), labels = json('kiln.labels'), output = metadata['kiln.output'];
    if (!['1', '2'].includes(metadata['kiln.format']) || !record || !labels || metadata['kiln.layout'] !== 'nhwc') {
        throw new Error('model.onnx: expected a model with kiln\'s metadata that takes uint8 pixels');
    }
    if (!['probabilities', 'sigmoid'].includes(output)) throw new Error(`model.onnx: expected probabilities, found ${output}`);
    session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
    const name = metadata['kiln.output_name'] ?? session.outputNames[0];
    // One score is the probability of the second of two classes.
    const scores = (await run(new Uint8Array(record.height * record.width * (record.channels === 'gray' ? 1 : 3)), { record, name })).length;
    const isBinary = scores === 1 && labels.length === 2;
    if (!isBinary && scores !== labels.length) throw new Error(`model.onnx: expected ${labels.length} scores for its labels, found ${scores}`);
    const thresholds = json('kiln.threshold') ?? [0.5];
    spec = { record, labels, output, name, isBinary, has_several: output === 'sigmoid' && !isBinary, threshold: i => thresholds[i] ?? thresholds[0] };
    return json('kiln.golden');
}

// The scores of prepared pixels.
function run(pixels, { record, name }) {
    const shape = [1, record.height, record.width, record.channels === 'gray' ? 1 : 3];
    const computed = line.then(async () => {
        const results = await session.run({ [session.inputNames[0]]: new ort.Tensor('uint8', pixels, shape) }, [name]);
        return results[name].data;
    });
    line = computed.catch(() => {});
    return computed;
}

// How far two scores lie apart: by their natural logarithms, anything below 1e-30 taken for that; those of a sigmoid by those of
// the opposites too, less what one unit of f32 at 1 makes of them.
function distance(expected, found) {
    const logarithms = (a, b) => Math.abs(Math.log(Math.max(a, 1e-30)) - Math.log(Math.max(b, 1e-30)));
    if (!Number.isFinite(found)) return Infinity;
    if (spec.output !== 'sigmoid') return logarithms(expected, found);
    const unit = 2 ** -23;
    const beyond = (a, b) => logarithms(Math.max(a, unit), Math.max(b, unit)) - unit / Math.min(Math.max(a, unit), Math.max(b, unit));
    return Math.max(beyond(expected, found), beyond(1 - expected, 1 - found), 0);
}

// Replays the images of the file, from raw pixels to scores, and says what came of it; throws where the browser computes something
// else than the program that made the file.
async function verify(golden) {
    if (!golden) return 'The file has no golden vectors: nothing proves that this browser computes what it should.';
    let worst = 0;
    for (const { source, height, width, channels, pixels, scores, label, tolerance } of golden.vectors) {
        const image = { pixels: Uint8Array.from(atob(pixels), c => c.charCodeAt(0)), height, width, channels };
        const wrong = what => new Error(`This browser FAILED the model's golden vectors: ${what} of ${source}. It computes something else than ${golden.computed_by}, and is not used.`);
        if (image.pixels.length !== height * width * channels) throw wrong('there are too few or too many pixels');
        const found = await run(prepare(image, spec.record), spec);
        if (found.length !== scores.length) throw wrong(`${found.length} scores instead of ${scores.length}`);
        const share = Math.max(...scores.map((expected, i) => distance(expected, found[i]))) / tolerance;
        if (!(share <= 1)) throw wrong(`a score differs by ${share.toPrecision(2)} times what it may, that`);
        const best = scores.length === 1 ? Number(scores[0] > 0.5) : scores.indexOf(Math.max(...scores));
        if (spec.labels[best] !== label) throw wrong(`the class is called ${spec.labels[best]} instead of ${label}, that`);
        worst = Math.max(worst, share);
    }
    const percent = worst * 100;
    return `${golden.vectors.length} golden vectors replayed here: passed, with at most ${percent < 1 ? percent.toFixed(2) : percent.toFixed(0)} % of the difference that they may have.`;
}

async function findModels() {
    let verdict;
    try {
        verdict = await verify(await load());
    } catch (error) {
        throw new Error(error.message.startsWith('This browser') ? error.message : `The model cannot be used: ${error.message}`);
    }
    const { record, labels, has_several } = spec;
    const found = { name: 'model.onnx', classes: labels.length, has_several, gray: record.channels === 'gray', height: record.height, width: record.width };
    return [{ ...found, about: `In this browser, by ONNX Runtime Web ${ort.env.versions.web}: ${describe(found)}. ${verdict}` }];
}

// How a photograph lies by the tag Orientation of its Exif data, 1 to 8; 1 where it has none. `data` is a TIFF file.
function orientationOf(data) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    try {
        const little = view.getUint16(0) === 0x4949, first = view.getUint32(4, little);
        for (let i = 0; i < view.getUint16(first, little); i++) {
            const entry = first + 2 + 12 * i;
            if (view.getUint16(entry, little) === 0x0112) {
                const found = view.getUint16(entry + 8, little);
                return found >= 1 && found <= 8 ? found : 1;
            }
        }
    } catch {
        // Data that end in the middle say nothing.
    }
    return 1;
}

// A copy of an image file without its Exif data, by which some browsers turn photographs and some do not, and how it lies by them.
function withoutExif(bytes) {
    const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let copy = bytes.slice(), orientation = 1;
    if (bytes[0] === 0xff && bytes[1] === 0xd8) {
        // Segments of a JPEG up to its scan. One of application data that nobody knows is skipped.
        for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; at += 2 + view.getUint16(at + 2)) {
            if (bytes[at + 1] === 0xe1 && text(at + 4, 4) === 'Exif') {
                orientation = orientationOf(bytes.subarray(at + 10, at + 2 + view.getUint16(at + 2)));
                copy[at + 1] = 0xef;
            }
        }
    } else if (text(1, 3) === 'PNG') {
        for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
            const end = at + 12 + view.getUint32(at);
            if (text(at + 4, 4) === 'eXIf') {
                orientation = orientationOf(bytes.subarray(at + 8, end - 4));
                copy = new Uint8Array(bytes.length - (end - at));
                copy.set(bytes.subarray(0, at));
                copy.set(bytes.subarray(end), at);
                break;
            }
        }
    } else if (text(0, 4) === 'RIFF' && text(8, 4) === 'WEBP') {
        for (let at = 12, length; at + 8 <= bytes.length; at += 8 + length + length % 2) {
            length = view.getUint32(at + 4, true);
            if (text(at, 4) === 'EXIF') {
                orientation = orientationOf(bytes.subarray(at + 8, at + 8 + length));
                copy[at] = 0x2e;
            }
        }
    }
    return [copy, orientation];
}

// The pixels of an image file, by the browser's decoder, without its color management; upright where the record says so.
async function decode(blob, name) {
    const [bytes, orientation] = withoutExif(new Uint8Array(await blob.arrayBuffer()));
    let bitmap;
    try {
        bitmap = await createImageBitmap(new Blob([bytes], { type: blob.type }), { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
    } catch {
        throw new Error(`${name} is not an image that this browser decodes.`);
    }
    const { width, height } = bitmap, context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (!context) throw new Error(`${name} is larger than this browser's canvas: ${width} × ${height}.`);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const image = { pixels: context.getImageData(0, 0, width, height).data, height, width, channels: 4 };
    // Squares of pixels are counted from the corner where the file begins.
    return spec.record.orientation ? upright(reduced(image, spec.record, orientation), orientation) : image;
}

// Pixels as a picture for the page.
function imageUrl(pixels, { height, width, channels }) {
    const canvas = document.createElement('canvas'), context = canvas.getContext('2d');
    [canvas.width, canvas.height] = [width, height];
    const image = context.createImageData(width, height), count = channels === 'gray' ? 1 : 3;
    for (let i = 0; i < width * height; i++) {
        for (let c = 0; c < 3; c++) image.data[i * 4 + c] = pixels[i * count + (count === 3 ? c : 0)];
        image.data[i * 4 + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
}

// The prediction of scores.
function predict(scores) {
    const { labels, isBinary, has_several, threshold } = spec;
    const probabilities = isBinary ? [1 - scores[0], scores[0]] : [...scores];
    if (!probabilities.every(Number.isFinite)) throw new Error('The model gave scores that are no numbers for this image.');
    const best = isBinary ? Number(probabilities[1] > threshold(0)) : probabilities.indexOf(Math.max(...probabilities));
    const ranked = probabilities.map((probability, index) => ({ label: labels[index], probability, index }));
    ranked.sort((a, b) => (b.index === best) - (a.index === best) || b.probability - a.probability);
    const chosen = ranked.filter(({ probability, index }) => has_several ? probability > threshold(index) : index === best);
    return { label: labels[best], probability: probabilities[best], labels: chosen.map(({ label }) => label), top: ranked.slice(0, 10) };
}

async function ask(blob, name) {
    const began = performance.now(), image = await decode(blob, name);
    const decoded = performance.now(), pixels = prepare(image, spec.record);
    const prepared = performance.now(), scores = await run(pixels, spec);
    const computed = performance.now(), ms = (from, to) => (to - from).toFixed(2);
    const isOpaque = image.pixels.every((value, i) => i % 4 !== 3 || value === 255);
    return {
        prediction: { ...predict(scores), input: imageUrl(pixels, spec.record) },
        times: `${ms(began, computed)} ms in this browser: decoding ${ms(began, decoded)}, preparing ${ms(decoded, prepared)}, the network ${ms(prepared, computed)}.`,
        note: isOpaque ? '' : 'The image has transparent pixels, whose colors browsers round.',
    };
}

start();
