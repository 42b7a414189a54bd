// A server computes: `kiln serve`.
let token = '';

function headers() {
    return token ? { Authorization: `Bearer ${token}` } : {};
}

async function findModels() {
    for (;;) {
        const response = await fetch('models', { headers: headers() });
        at('login').hidden = response.status !== 401;
        if (!response.ok) throw new Error(response.status === 401 ? 'The server takes a token.' : 'The models cannot be asked for.');
        const found = await response.json();
        if (found.length > 0) {
            return found.map(it => ({ ...it, about: `${it.name}, version ${it.version}, on ${it.engine}: ${describe(it)}.` }));
        }
        at('about').textContent = 'No model is in service yet.';
        await new Promise(done => setTimeout(done, 1000));
    }
}

async function ask(blob, name) {
    const began = performance.now();
    const query = `predict?model=${encodeURIComponent(model.name)}&top=${Math.min(model.classes, 10)}`;
    let response, answer;
    try {
        response = await fetch(`${query}&show_input=true`, { method: 'POST', body: blob, headers: headers() });
        answer = await response.json();
    } catch (error) {
        throw new Error(`The server did not answer: ${error.message}`);
    }
    if (!response.ok) throw new Error(answer.error);
    const [prediction] = answer.predictions, { queue, prepare, inference } = prediction.timings_ms;
    const elapsed = performance.now() - began;
    const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
    const bearer = token ? ' -H "Authorization: Bearer $TOKEN"' : '';
    return {
        prediction,
        times: `${elapsed.toFixed(0)} ms from here and back; on the server ${answer.timings_ms.total.toFixed(2)} ms: waiting ${queue.toFixed(2)}, preparing ${prepare.toFixed(2)}, the network ${inference.toFixed(2)}.`,
        curl: `curl --data-binary ${quoted('@' + name)}${bearer} ${quoted(new URL(query, location.href).href)}`,
    };
}

at('login').addEventListener('submit', event => {
    event.preventDefault();
    token = at('token').value.trim();
    start();
});

start();
