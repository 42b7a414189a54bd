// The page: drawing, photographs, camera, and what comes of them. What computes is another file's: `findModels` returns the models,
// each with a name, a text about it, its number of classes, size, whether it takes gray and whether images can have several
// classes; `ask` returns what `model` makes of an image file. Both throw an error whose message is for people.
const at = id => document.getElementById(id);
const canvas = at('canvas'), pen = canvas.getContext('2d', { willReadFrequently: true });
let models = [], model = null, latest = 0, timer = 0, stream = null;

async function start() {
    const about = at('about');
    try {
        models = await findModels();
        about.className = 'soft';
    } catch (error) {
        about.textContent = error.message;
        about.className = 'bad';
        return;
    }
    at('model').replaceChildren(...models.map(({ name }) => new Option(name, name)));
    at('choice').hidden = models.length < 2;
    choose();
}

function choose() {
    model = models[Math.max(at('model').selectedIndex, 0)];
    at('about').textContent = model.about;
    at('draw').hidden = !model.gray;
    clear();
    reset('Nothing classified yet.');
}

// What is the same of every model.
function describe({ classes, height, width, gray }) {
    return `${classes} classes, images of ${height} × ${width}, ${gray ? 'gray' : 'color'}`;
}

function reset(text, bad) {
    const status = at('status');
    status.textContent = text;
    status.className = bad ? 'bad' : 'soft';
    at('classes').hidden = at('details').hidden = true;
}

// Classifies an image file; of several requests the answer of the last counts.
// What is begun takes the place of a drawing that waits to be classified, and of answers under way. Returns its number.
function begin() {
    clearTimeout(timer);
    return ++latest;
}

async function classify(blob, name, mine = begin()) {
    if (!model) return;
    try {
        const answer = await ask(blob, name);
        if (mine === latest) show(answer);
    } catch (error) {
        if (mine === latest) reset(error.message, true);
    }
}

function show({ prediction, times, note, curl }) {
    const percent = probability => `${(probability * 100).toFixed(1)} %`;
    const status = at('status');
    status.className = '';
    status.textContent = model.has_several
        ? `Classes over their threshold: ${prediction.labels.join(', ') || 'none'}`
        : `${prediction.label}, ${percent(prediction.probability)}`;
    const rows = prediction.top.map(({ label, probability }, place) => {
        const row = document.createElement('tr'), head = document.createElement('th'), bar = document.createElement('td'), number = document.createElement('td');
        row.className = place === 0 ? 'first' : '';
        head.scope = 'row';
        head.textContent = label;
        bar.append(document.createElement('div'));
        bar.firstChild.className = 'bar';
        bar.firstChild.style.width = `${probability * 100}%`;
        number.className = 'number';
        number.textContent = percent(probability);
        number.dataset.probability = probability;
        row.append(head, bar, number);
        return row;
    });
    at('classes').tBodies[0].replaceChildren(...rows);
    at('seen').src = prediction.input;
    at('size').textContent = `${model.height} × ${model.width} pixels, before values are scaled.${note ? ` ${note}` : ''}`;
    at('times').textContent = times;
    at('terminal').hidden = !curl;
    at('curl').textContent = curl ?? '';
    at('classes').hidden = at('details').hidden = false;
}

// Drawing: strokes on a canvas of one color.
let drawn = false, last = null, down = false, cursor = { x: 140, y: 140 }, writes = false;

function clear() {
    pen.fillStyle = at('dark').checked ? '#fff' : '#000';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    drawn = false;
}

function stroke(from, to) {
    pen.strokeStyle = at('dark').checked ? '#000' : '#fff';
    pen.lineWidth = 22;
    pen.lineCap = pen.lineJoin = 'round';
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x, to.y);
    pen.stroke();
    drawn = true;
    clearTimeout(timer);
    timer = setTimeout(submit, 150);
}

function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width * canvas.width, y: (event.clientY - box.top) / box.height * canvas.height };
}

// The drawing as it is, or its strokes in the middle, as large as the digits of MNIST are: 20 of 28 pixels.
function picture() {
    if (!at('fit').checked) return canvas;
    const { width, height } = canvas, { data } = pen.getImageData(0, 0, width, height), back = at('dark').checked ? 255 : 0;
    let left = width, right = -1, top = height, bottom = -1;
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            if (Math.abs(data[(y * width + x) * 4] - back) > 32) {
                left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
            }
        }
    }
    if (right < left) return canvas;
    const fitted = new OffscreenCanvas(width, height), context = fitted.getContext('2d');
    const scale = 20 / 28 * width / Math.max(right - left + 1, bottom - top + 1);
    const [w, h] = [(right - left + 1) * scale, (bottom - top + 1) * scale];
    context.fillStyle = back ? '#fff' : '#000';
    context.fillRect(0, 0, width, height);
    context.drawImage(canvas, left, top, right - left + 1, bottom - top + 1, (width - w) / 2, (height - h) / 2, w, h);
    return fitted;
}

async function submit() {
    if (!drawn) return;
    const mine = begin(), source = picture();
    const blob = source.convertToBlob ? await source.convertToBlob() : await new Promise(done => source.toBlob(done));
    URL.revokeObjectURL(at('save').href);
    at('save').href = URL.createObjectURL(blob);
    if (mine === latest) classify(blob, 'drawing.png', mine);
}

canvas.addEventListener('pointerdown', event => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last, last);
});
canvas.addEventListener('pointermove', event => {
    if (!last) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const next = place(part);
        stroke(last, next);
        last = next;
    }
});
for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { last = null; });
canvas.addEventListener('keydown', event => {
    const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[event.key];
    if (step) {
        const limit = value => Math.min(Math.max(value, 11), canvas.width - 11);
        const next = { x: limit(cursor.x + step[0]), y: limit(cursor.y + step[1]) };
        if (writes) stroke(cursor, next);
        cursor = next;
    } else if (event.key === ' ') {
        writes = !writes;
        if (writes) stroke(cursor, cursor);
    } else if (event.key === 'Enter') {
        submit();
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
        at('clear').click();
    } else {
        return;
    }
    event.preventDefault();
});
at('clear').addEventListener('click', () => {
    begin();
    clear();
    writes = false;
    cursor = { x: 140, y: 140 };
    reset('Nothing classified yet.');
});
at('dark').addEventListener('change', () => at('clear').click());
at('fit').addEventListener('change', submit);

// Photographs: chosen, dropped, pasted or taken.
function photograph(blob, name) {
    if (!blob) return;
    const photo = at('photo');
    URL.revokeObjectURL(photo.src);
    photo.src = URL.createObjectURL(blob);
    photo.hidden = false;
    classify(blob, name);
}

at('file').addEventListener('change', ({ target }) => {
    photograph(target.files[0], target.files[0]?.name);
    target.value = '';
});
const drop = at('drop');
for (const name of ['dragover', 'dragenter']) drop.addEventListener(name, event => { event.preventDefault(); drop.classList.add('over'); });
for (const name of ['dragleave', 'drop']) drop.addEventListener(name, () => drop.classList.remove('over'));
drop.addEventListener('drop', event => {
    event.preventDefault();
    photograph(event.dataTransfer.files[0], event.dataTransfer.files[0]?.name);
});
document.addEventListener('paste', event => photograph(event.clipboardData.files[0], 'pasted.png'));

function closeCamera() {
    stream?.getTracks().forEach(track => track.stop());
    stream = null;
    at('video').hidden = at('shoot').hidden = true;
    at('camera').textContent = 'Use the camera';
}

at('camera').addEventListener('click', async () => {
    if (stream) return closeCamera();
    try {
        if (!navigator.mediaDevices) throw new Error('browsers allow it on this machine and over HTTPS alone');
        stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
        at('video').srcObject = stream;
        await at('video').play();
        at('video').hidden = at('shoot').hidden = false;
        at('camera').textContent = 'Close the camera';
        at('shoot').focus();
    } catch (error) {
        closeCamera();
        reset(`The camera cannot be used: ${error.message}`, true);
    }
});
at('shoot').addEventListener('click', () => {
    const video = at('video'), frame = document.createElement('canvas');
    [frame.width, frame.height] = [video.videoWidth, video.videoHeight];
    frame.getContext('2d').drawImage(video, 0, 0);
    frame.toBlob(blob => photograph(blob, 'camera.jpg'), 'image/jpeg', 0.95);
});

at('model').addEventListener('change', choose);
at('copy').addEventListener('click', () => navigator.clipboard?.writeText(at('curl').textContent));
