// From decoded pixels to those that a graph of uint8 takes, as the preprocessing record of a model says: steps 1 to 4 of
// docs/metadata.md, in the arithmetic that kiln's own code has, so that equal pixels give equal bytes. f32 is `Math.fround` after
// each operation; Pillow's 8 bits are sums of integers.
//
// Images are { pixels, height, width, channels }: bytes, rows from the top, the channels of a pixel together.
const f32 = Math.fround;

// Rounds halves to the even number.
function even(value) {
    const down = Math.floor(value), rest = value - down;
    return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

function luma(red, green, blue) {
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >>> 16;
}

// Turns an image upright that lies by this value of Exif's tag Orientation.
function upright({ pixels, height, width, channels }, orientation) {
    if (orientation === 1) return { pixels, height, width, channels };
    const [rows, columns] = orientation >= 5 ? [width, height] : [height, width], right = width - 1, bottom = height - 1;
    const from = [null, null, (y, x) => [y, right - x], (y, x) => [bottom - y, right - x], (y, x) => [bottom - y, x],
        (y, x) => [x, y], (y, x) => [bottom - x, y], (y, x) => [bottom - x, right - y], (y, x) => [x, right - y]][orientation];
    const out = new Uint8Array(pixels.length);
    let at = 0;
    for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
            const [row, column] = from(y, x), begin = (row * width + column) * channels;
            for (let c = 0; c < channels; c++) out[at++] = pixels[begin + c];
        }
    }
    return { pixels: out, height: rows, width: columns, channels };
}

// The channels of the record: a color becomes gray, gray is repeated; transparent pixels are put on the background, or lose their
// alpha without one.
function toChannels({ pixels, height, width, channels }, record) {
    const wanted = record.channels === 'gray' ? 1 : 3, count = height * width;
    if (channels === wanted) return { pixels, height, width, channels };
    const background = channels % 2 === 0 ? record.background : null, step = channels >= 3 ? 1 : 0;
    const blend = (value, below, opacity) => {
        const sum = below * (255 - opacity) + value * opacity + 128;
        return (sum + (sum >> 8)) >> 8;
    };
    const out = new Uint8Array(count * wanted);
    for (let i = 0, from = 0, to = 0; i < count; i++, from += channels) {
        let red = pixels[from], green = pixels[from + step], blue = pixels[from + 2 * step];
        if (background) {
            const opacity = pixels[from + channels - 1];
            red = blend(red, background[0], opacity);
            green = blend(green, background[1], opacity);
            blue = blend(blue, background[2], opacity);
        }
        if (wanted === 1) {
            out[to++] = step || background ? luma(red, green, blue) : red;
        } else {
            out[to++] = red;
            out[to++] = green;
            out[to++] = blue;
        }
    }
    return { pixels: out, height, width, channels: wanted };
}

// An image divided by the largest power of two by which `reducing_gap` times the size to resize to remain, as it is stored: means of
// squares of pixels. Divided already, it stays as it is.
function reduced(image, record, orientation) {
    const { reducing_gap: gap = 0, fit = 'stretch', size = [record.height, record.width] } = record.resize;
    if (gap === 0) return image;
    const sides = orientation >= 5 ? [image.width, image.height] : [image.height, image.width];
    const enough = by => {
        const remains = (side, i) => Math.ceil(side / by) >= gap * size[i];
        return fit === 'longer' ? sides.some(remains) : sides.every(remains);
    };
    let by = 1;
    while (by < Math.max(...sides) && enough(2 * by)) by *= 2;
    if (by === 1) return image;
    const opaque = record.background && image.channels % 2 === 0 ? toChannels(image, { ...record, channels: 'rgb' }) : image;
    const { pixels, height, width, channels } = opaque, rows = Math.ceil(height / by), columns = Math.ceil(width / by);
    const out = new Uint8Array(rows * columns * channels);
    for (let y = 0, to = 0; y < rows; y++) {
        const bottom = Math.min((y + 1) * by, height);
        for (let x = 0; x < columns; x++) {
            const right = Math.min((x + 1) * by, width), count = (bottom - y * by) * (right - x * by);
            for (let c = 0; c < channels; c++) {
                let sum = Math.floor(count / 2);
                for (let row = y * by; row < bottom; row++) {
                    for (let column = x * by; column < right; column++) sum += pixels[(row * width + column) * channels + c];
                }
                out[to++] = Math.floor(sum / count);
            }
        }
    }
    return { pixels: out, height: rows, width: columns, channels };
}

// The size that an image is resized to.
function resizedSize(fit, height, width, [toHeight, toWidth]) {
    const byHeight = height / toHeight, byWidth = width / toWidth;
    const divided = ratio => [even(height / ratio), even(width / ratio)];
    let size;
    if (fit === 'shorter' && toHeight === toWidth) {
        size = width <= height ? [Math.floor(toHeight * height / width), toWidth] : [toHeight, Math.floor(toHeight * width / height)];
    } else if (fit === 'shorter') size = divided(Math.min(byHeight, byWidth));
    else if (fit === 'longer') size = divided(Math.max(byHeight, byWidth));
    else size = [toHeight, toWidth];
    return size.map(side => Math.max(side, 1));
}

// The part of the image that is resized: where it begins, and its length, of rows and of columns.
function resizedPart({ fit, arithmetic }, height, width, [toHeight, toWidth]) {
    if (fit !== 'crop_to_aspect_ratio') return [[0, height], [0, width]];
    const part = (side, other, to, otherTo) => {
        let length = arithmetic === 'pillow' ? Math.min(Math.floor(other * to / otherTo), side) : Math.floor(f32(f32(other * to) / otherTo));
        length = Math.min(Math.max(length, 1), side);
        return [Math.floor((side - length) / 2), length];
    };
    return [part(height, width, toHeight, toWidth), part(width, height, toWidth, toHeight)];
}

// Along one axis: `of` pixels from `from` on become `resized`, of which `length` from `skip` on go to the tensor, from `start` on.
function axisWindow([from, of], resized, tensor, rounding) {
    if (resized < tensor) return { from, of, resized, skip: 0, start: Math.floor((tensor - resized) / 2), length: resized };
    const twice = resized - tensor, half = Math.floor(twice / 2);
    const up = rounding !== 'down' && twice % 2 === 1 && half % 2 === 1;
    return { from, of, resized, skip: half + (up ? 1 : 0), start: 0, length: tensor };
}

// Cubic convolution with a parameter, in f32.
function cubic(x, a) {
    if (x < 1) return f32(f32(f32(f32(f32(f32(a + 2) * x) - f32(a + 3)) * x) * x) + 1);
    if (x < 2) return f32(f32(f32(f32(f32(f32(a * x) - f32(5 * a)) * x) + f32(8 * a)) * x) - f32(4 * a));
    return 0;
}

const KERNELS = {
    bilinear: [distance => Math.max(f32(1 - distance), 0), 1],
    bicubic: [distance => cubic(distance, -0.5), 2],
    lanczos: [distance => {
        const PI = f32(Math.PI), sine = value => f32(Math.sin(value));
        if (distance > 3) return 0;
        if (distance <= f32(1e-3)) return 1;
        const above = f32(f32(3 * sine(f32(PI * distance))) * sine(f32(f32(PI * distance) / 3)));
        return f32(above / f32(f32(f32(PI * PI) * distance) * distance));
    }, 3],
};

// For each output along an axis, the first source pixel of the part, and the weights of it and those after it, in f32.
function axisWeights(view, { filter, antialias, arithmetic }) {
    const input = view.of, last = input - 1, spans = [], scale = f32(input / view.resized);
    const outputs = [...Array(view.length).keys()].map(i => i + view.skip);
    const position = x => f32(f32(f32(x + 0.5) * scale) - 0.5);
    if (filter === 'nearest') {
        const step = input / view.resized;
        let summed = view.from + step * 0.5;
        for (let x = 0; x < view.skip + view.length; x++) {
            const source = arithmetic === 'tensorflow' ? Math.floor(f32(f32(x + 0.5) * scale))
                : arithmetic === 'torch' ? Math.floor(f32(x * scale)) : Math.floor(summed) - view.from;
            summed += step;
            if (x >= view.skip) spans.push({ first: Math.min(source, last), weights: [1] });
        }
    } else if (antialias || filter === 'lanczos') {
        const [kernel, reach] = KERNELS[filter], inverse = f32(1 / f32(view.resized / input));
        const wide = antialias ? Math.max(inverse, 1) : 1, radius = f32(reach * wide), narrow = f32(1 / wide);
        for (const x of outputs) {
            const center = f32(f32(x + 0.5) * inverse);
            const first = Math.min(Math.max(Math.ceil(f32(f32(center - radius) - 0.5)), 0), last);
            const end = Math.min(Math.max(Math.floor(f32(f32(center + radius) - 0.5)), 0), last);
            const weights = [];
            let sum = 0;
            for (let source = first; source <= end; source++) {
                const weight = kernel(Math.abs(f32(f32(f32(source + 0.5) - center) * narrow)));
                sum = f32(sum + weight);
                weights.push(weight);
            }
            const normalize = f32(1 / sum);
            spans.push({ first, weights: weights.map(weight => f32(weight * normalize)) });
        }
    } else if (filter === 'bilinear') {
        for (const x of outputs) {
            const place = position(x), below = Math.floor(place), fraction = f32(place - below);
            const lower = Math.min(Math.max(below, 0), last), upper = Math.min(Math.max(Math.ceil(place), 0), last);
            spans.push(lower === upper ? { first: lower, weights: [1] } : { first: lower, weights: [f32(1 - fraction), fraction] });
        }
    } else {
        for (const x of outputs) {
            const place = position(x), below = Math.floor(place), torch = arithmetic === 'torch';
            const exact = f32(place - below), fraction = torch ? exact : f32(even(f32(exact * 1024)) / 1024);
            const distances = [f32(1 + fraction), fraction, f32(1 - fraction), f32(2 - fraction)], from = below - 1;
            const clamp = at => Math.min(Math.max(at, 0), last);
            if (torch) {
                const first = clamp(from), weights = Array(clamp(from + 3) - first + 1).fill(0);
                distances.forEach((distance, i) => {
                    const at = clamp(from + i) - first;
                    weights[at] = f32(weights[at] + cubic(distance, -0.75));
                });
                spans.push({ first, weights });
            } else {
                const within = [0, 1, 2, 3].filter(i => from + i >= 0 && from + i <= last);
                const weights = within.map(i => cubic(distances[i], -0.5));
                const sum = weights.reduce((a, b) => f32(a + b), 0);
                spans.push({ first: from + (within[0] ?? 0), weights: weights.map(weight => f32(weight / sum)) });
            }
        }
    }
    return spans;
}

// Resizes in f32: each output row is blended from source rows, then along its width; rounded to 8 bits at last.
function resizeFloat(image, [down, across], resize) {
    const { pixels, width, channels } = image, out = new Uint8Array(down.length * across.length * channels);
    const columns = axisWeights(across, resize), row = new Float32Array(width * channels);
    let at = 0;
    for (const { first, weights } of axisWeights(down, resize)) {
        row.fill(0);
        weights.forEach((weight, i) => {
            const begin = (down.from + first + i) * row.length;
            for (let x = 0; x < row.length; x++) row[x] += f32(weight * pixels[begin + x]);
        });
        for (const column of columns) {
            for (let c = 0; c < channels; c++) {
                let sum = 0, from = (across.from + column.first) * channels + c;
                for (const weight of column.weights) {
                    sum = f32(sum + f32(weight * row[from]));
                    from += channels;
                }
                out[at++] = even(Math.min(Math.max(sum, 0), 255));
            }
        }
    }
    return out;
}

const FILTERS = {
    bilinear: [x => Math.abs(x) < 1 ? 1 - Math.abs(x) : 0, 1],
    bicubic: [x => {
        const d = Math.abs(x);
        return d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? (((d - 5) * d + 8) * d - 4) * -0.5 : 0;
    }, 2],
    lanczos: [x => {
        const sinc = value => value === 0 ? 1 : Math.sin(value * Math.PI) / (value * Math.PI);
        return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    }, 3],
};

// For each output of a part of `length` from `start` on, the first source pixel and integer weights, and how far sums are shifted.
function pillowWeights(side, { start, length }, count, { filter, antialias }) {
    const [kernel, reach] = FILTERS[filter], scale = length / count, wide = antialias ? Math.max(scale, 1) : 1;
    const radius = reach * wide, narrow = 1 / wide, spans = [];
    let largest = 0;
    for (let x = 0; x < count; x++) {
        const middle = start + (x + 0.5) * scale, from = Math.max(Math.floor(middle - radius), 0);
        const end = Math.min(Math.ceil(middle + radius), side), weights = [];
        let first = from, sum = 0;
        for (let source = from; source < end; source++) {
            const weight = kernel((source - (middle - 0.5)) * narrow);
            if (source === first && weight === 0) {
                first++;
            } else {
                weights.push(weight);
                sum += weight;
            }
        }
        while (weights.length > 0 && weights.at(-1) === 0) weights.pop();
        const shares = weights.map(weight => sum === 0 ? weight : weight / sum);
        largest = shares.reduce((a, b) => Math.max(a, b), largest);
        spans.push({ first, weights: shares });
    }
    // As many bits as fit into 16 with a sign.
    let bits = 0;
    while (bits < 21 && Math.round(largest * 2 ** (bits + 1)) < 32768) bits++;
    const rounded = value => Math.sign(value) * Math.round(Math.abs(value));
    for (const span of spans) span.weights = span.weights.map(weight => rounded(weight * 2 ** bits));
    return { spans, bits };
}

// One pass of 8 bits over the rows of an image, or over its columns.
function pillowPass(image, part, count, resize, vertical) {
    const { pixels, height, width, channels } = image, side = vertical ? height : width;
    const rows = vertical ? count : height, columns = vertical ? width : count;
    const out = new Uint8Array(rows * columns * channels);
    const result = { pixels: out, height: rows, width: columns, channels };
    const whole = Math.round(part.start) === part.start && part.length === count;
    const { spans, bits } = whole ? { spans: [...Array(count).keys()].map(i => ({ first: part.start + i, weights: [1] })), bits: 0 }
        : pillowWeights(side, part, count, resize);
    const initial = bits > 0 ? 1 << (bits - 1) : 0, stride = vertical ? width * channels : channels;
    let at = 0;
    for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
            const { first, weights } = spans[vertical ? y : x];
            const begin = vertical ? (first * width + x) * channels : (y * width + first) * channels;
            for (let c = 0; c < channels; c++) {
                let sum = initial, from = begin + c;
                for (let i = 0; i < weights.length; i++, from += stride) sum += weights[i] * pixels[from];
                const value = sum >> bits;
                out[at++] = value < 0 ? 0 : value > 255 ? 255 : value;
            }
        }
    }
    return result;
}

// The largest number below a positive one.
function nextDown(value) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    view.setBigUint64(0, view.getBigUint64(0) - 1n);
    return view.getFloat64(0);
}

// Resizes in 8 bits, as Pillow does.
function resizePillow(image, [down, across], resize) {
    const within = (span, side) => {
        while (span.start + span.length > side) span.length = nextDown(span.length);
        return span;
    };
    const spanOf = (side, view) => {
        const scale = view.of / view.resized;
        return within({ start: view.from + view.skip * scale, length: view.length * scale }, side);
    };
    const pass = (source, vertical) => pillowPass(source, vertical ? spanOf(source.height, down) : spanOf(source.width, across),
        (vertical ? down : across).length, resize, vertical);
    const { height, width } = image;
    const rowsFirst = (width === across.resized && across.of === across.resized) || (height === down.resized && down.of === down.resized)
        || (height - down.resized > 0 && height - down.resized > 2 * (width - across.resized));
    return pass(pass(image, rowsFirst), !rowsFirst).pixels;
}

// The bytes that the graph takes, `[height, width, channels]`, of an image as it is decoded, which is upright.
function prepare(stored, record) {
    const image = reduced(stored, record, 1);
    const resize = { fit: 'stretch', filter: 'bilinear', antialias: false, arithmetic: 'tensorflow', padding: [0, 0, 0], crop_rounding: 'even', ...record.resize };
    const size = resize.size ?? [record.height, record.width], { height, width } = image;
    const [toHeight, toWidth] = resizedSize(resize.fit, height, width, size);
    const [rows, columns] = resizedPart(resize, height, width, size);
    const down = axisWindow(rows, toHeight, record.height, resize.crop_rounding);
    const across = axisWindow(columns, toWidth, record.width, resize.crop_rounding);
    const source = toChannels(image, record), channels = source.channels;
    let middle;
    if (down.of === down.resized && across.of === across.resized) {
        middle = new Uint8Array(down.length * across.length * channels);
        for (let y = 0; y < down.length; y++) {
            const begin = ((down.from + down.skip + y) * width + across.from + across.skip) * channels;
            middle.set(source.pixels.subarray(begin, begin + across.length * channels), y * across.length * channels);
        }
    } else if (resize.arithmetic === 'pillow' && resize.filter !== 'nearest') {
        middle = resizePillow(source, [down, across], resize);
    } else {
        middle = resizeFloat(source, [down, across], resize);
    }
    const out = new Uint8Array(record.height * record.width * channels);
    const padding = channels === 1 ? [luma(...resize.padding)] : resize.padding;
    if (padding.some(value => value !== 0)) out.forEach((_, i) => { out[i] = padding[i % channels]; });
    for (let y = 0; y < down.length; y++) {
        const row = middle.subarray(y * across.length * channels, (y + 1) * across.length * channels);
        out.set(row, ((down.start + y) * record.width + across.start) * channels);
    }
    return out;
}
