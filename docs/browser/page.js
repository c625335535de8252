// The page around the worker: opens pictures, asks for edits one at a time, shows and saves them.
import { Pad } from './pad.js';
import { onWhite } from './pixels.js';
import { encode } from './save.js';

const LONGEST = 4096; // px; larger pictures are reduced when they are opened
const REST = 200; // ms without a move after which the whole picture is edited
const $ = (id) => document.getElementById(id);
const whole = $('whole').getContext('2d'), view = $('view').getContext('2d'), before = $('before').getContext('2d');
const state = { pad: null, busy: false, wanted: null, ready: false, rest: 0, name: 'astronaut', type: 'image/jpeg', own: null, picture: null };

const worker = new Worker('worker.js', { type: 'module' });

function say(text, bad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('calm', !bad);
  $('status').hidden = !text;
}

worker.onerror = (event) => {
  event.preventDefault();
  say('The page could not start: load it again in a current version of Chrome, Firefox, Edge or Safari.', true);
};

worker.onmessage = ({ data }) => {
  if (data.number && data.number !== state.sent) return; // of a picture that another one has replaced
  if (data.error) fail(data.error);
  if (data.ready) start(data.ready);
  if (data.faces) showFaces(data.faces);
  if (data.chosen !== undefined) chosen(data.chosen, data.view);
  if (data.patch) show(data);
};

function fail(sentence) {
  Object.assign(state, { busy: false, wanted: null, ready: false });
  say(sentence, true);
  enable(false);
}

function enable(on) {
  $('compare').disabled = !on;
  if (on) return;
  $('download').disabled = $('zoom').disabled = true;
  zoom(false);
}

function start({ codes, colors }) {
  const marks = Object.entries(codes).map(([name, [x, y]]) => ({ name, x, y, colour: colors[name] }));
  state.pad = new Pad($('pad'), marks, moved, rested);
  $('emotions').replaceChildren(...marks.map(({ name, x, y }) => {
    const button = document.createElement('button');
    Object.assign(button, { type: 'button', textContent: name[0].toUpperCase() + name.slice(1) });
    button.onclick = () => {
      state.pad.put(x, y);
      rested();
    };
    return button;
  }));
  const [x, y] = codes.surprised ?? [0, 0];
  state.pad.put(0.7 * x, 0.7 * y);
  if (state.picture) send();
}

let asked = 0; // pictures that were asked for: the last one is shown, whichever comes last

async function open(file, name, number = ++asked) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (number !== asked) return bitmap?.close();
  document.body.dataset.pictures = Number(document.body.dataset.pictures ?? 0) + 1;
  if (!bitmap) {
    return say('This file is not a picture that the browser can read: choose a JPEG, PNG or WebP file.', true);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((n) => Math.max(1, Math.round(n * scale)));
  Object.assign($('whole'), { width, height });
  whole.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = whole.getImageData(0, 0, width, height), own = { data, width, height };
  Object.assign(state, { own, picture: onWhite(own), wanted: null, name, type: file.type, sent: number });
  restore();
  $('stage').dataset.shows = 'whole';
  $('stage').style.setProperty('--ratio', width / height);
  $('faces').replaceChildren();
  $('facts').textContent = '';
  enable(false);
  if (state.pad) send();
}

function send() {
  say('Looking for a face…');
  worker.postMessage({ open: state.picture, number: state.sent });
}

function showFaces(faces) {
  state.faces = faces;
  if (faces.length < 2) return;
  const { width, height } = state.picture, shown = $('whole').getBoundingClientRect(), stage = $('stage').getBoundingClientRect();
  const share = shown.width / width, [dx, dy] = [shown.left - stage.left, shown.top - stage.top];
  $('faces').replaceChildren(...faces.map(({ box: [x, y, w, h] }, i) => {
    const button = document.createElement('button');
    const edges = { left: dx + x * share, top: dy + y * share, width: w * share, height: h * share };
    for (const [edge, value] of Object.entries(edges)) button.style[edge] = `${(100 * value) / (edge === 'left' || edge === 'width' ? stage.width : stage.height)}%`;
    button.append(Object.assign(document.createElement('span'), { textContent: i + 1 }));
    button.setAttribute('aria-label', `Edit face ${i + 1}`);
    button.onclick = () => {
      restore();
      worker.postMessage({ face: i });
    };
    return button;
  }));
}

// The picture as it was: another face is edited alone.
function restore() {
  whole.putImageData(new ImageData(state.picture.data, state.picture.width, state.picture.height), 0, 0);
  Object.assign(state, { ready: false });
}

function chosen(number, picture) {
  state.number = number;
  [...$('faces').children].forEach((button, i) => button.setAttribute('aria-pressed', i === number));
  const pixels = new ImageData(picture.data, picture.width, picture.height);
  $('zoom').disabled = false;
  for (const context of [view, before]) {
    Object.assign(context.canvas, { width: picture.width, height: picture.height });
    context.putImageData(pixels, 0, 0);
  }
  Object.assign(state, { ready: true, busy: false, wanted: null });
  say('');
  enable(true);
  if (state.zoomed) zoom(true);
  ask(false);
  rested();
}

function moved(x, y) {
  const angle = Math.round((Math.atan2(y, x) * 180) / Math.PI + 360) % 360;
  const values = [['angle', `${angle}°`], ['intensity', Math.hypot(x, y).toFixed(2)]];
  $('readout').replaceChildren(...values.flatMap(([name, value]) => [` ${name} `, Object.assign(document.createElement('b'), { textContent: value }), ' ']));
  [...$('emotions').children].forEach((button, i) => {
    const mark = state.pad.marks[i];
    button.setAttribute('aria-pressed', Math.hypot(mark.x - x, mark.y - y) < 0.005);
  });
  $('download').disabled = true;
  clearTimeout(state.rest);
  ask(false);
}

function rested() {
  clearTimeout(state.rest);
  state.rest = setTimeout(() => ask(true), REST);
}

// One edit at a time, and the last position of those that came meanwhile.
function ask(all) {
  if (!state.ready || !state.pad) return;
  const wanted = { edit: [state.pad.x, state.pad.y], whole: all };
  if (state.busy) state.wanted = wanted;
  else {
    state.busy = true;
    worker.postMessage(wanted);
  }
}

function show({ patch, whole: full, both, point, ms }) {
  state.busy = false;
  if (!state.ready) return;
  const context = full && !both ? whole : view;
  const pixels = new ImageData(patch.data, patch.width, patch.height);
  context.putImageData(pixels, patch.left, patch.top);
  if (both) whole.putImageData(pixels, patch.left, patch.top);
  $('stage').dataset.shows = full ? 'whole' : 'view';
  const here = point[0] === state.pad.x && point[1] === state.pad.y;
  $('download').disabled = !(full && here);
  $('facts').textContent = `${state.picture.width} × ${state.picture.height} px, ${Math.round(ms)} ms`;
  Object.assign(document.body.dataset, { edits: Number(document.body.dataset.edits ?? 0) + 1, ms: ms.toFixed(1) });
  const next = state.wanted;
  state.wanted = null;
  if (next && !(full && here)) ask(next.whole);
}

$('choose').onclick = () => $('file').click();
$('file').onchange = () => {
  const [file] = $('file').files;
  if (file) open(file, file.name.replace(/\.[^.]*$/, ''));
  $('file').value = '';
};
$('example').onclick = example;
async function example() {
  const number = ++asked;
  const blob = await fetch('astronaut.jpg').then((answer) => answer.ok && answer.blob()).catch(() => null);
  if (number !== asked) return;
  if (!blob) return say('The example could not be loaded: choose a picture of your own.', true);
  open(blob, 'astronaut', number);
}

for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $('stage').classList.toggle('dropping', kind === 'dragover');
    const file = kind === 'drop' && event.dataTransfer.files[0];
    if (file) open(file, file.name.replace(/\.[^.]*$/, ''));
  });
}

const compare = (on) => $('stage').classList.toggle('compared', on);
$('compare').onpointerdown = () => compare(true);
for (const end of ['pointerup', 'pointerleave', 'pointercancel', 'blur']) $('compare').addEventListener(end, () => compare(false));
$('compare').onkeydown = ({ key }) => (key === ' ' || key === 'Enter') && compare(true);
$('compare').onkeyup = () => compare(false);

$('download').onclick = async () => {
  const jpeg = state.type === 'image/jpeg';
  const href = URL.createObjectURL(await encode($('whole'), jpeg, state));
  Object.assign(document.createElement('a'), { href, download: `${state.name}-edited.${jpeg ? 'jpg' : 'png'}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
};

// Zoomed, the face fills most of the stage.
$('zoom').onclick = () => zoom(!state.zoomed);

function zoom(on) {
  const box = state.faces?.[state.number]?.box, stage = $('stage').getBoundingClientRect();
  state.zoomed = Boolean(on && box);
  $('zoom').setAttribute('aria-pressed', state.zoomed);
  $('stage').classList.toggle('zoomed', state.zoomed);
  const shown = $('whole').offsetWidth || $('view').offsetWidth;
  let transform = '';
  if (state.zoomed) {
    const { width, height } = state.picture, share = shown / width, [x, y, side] = box;
    const grow = Math.max(1, (0.62 * Math.min(stage.width, stage.height)) / (side * share));
    const [dx, dy] = [width / 2 - x - side / 2, height / 2 - y - side / 2].map((d) => d * share);
    transform = `scale(${grow}) translate(${dx}px, ${dy}px)`;
  }
  for (const name of ['whole', 'view', 'before']) $(name).style.transform = transform;
}

say('Loading the model and its runtime, 26 MB…');
example();
