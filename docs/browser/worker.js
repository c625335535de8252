// The networks, in a thread of their own: a drag stays fluid while an edit is computed.
// Messages to here: { open: picture, number }, { face: number }, { edit: [x, y], whole: bool }. From
// here: { ready: facts }, { faces }, { patch, whole, ms }, { error }, each with the picture's number.
import { findFaces, luma } from './faces.js';
import { alignment, cropFace, scaleOf, shrink } from './pixels.js';
import { PasteBack } from './paste.js';

const RUNTIME = 'https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/';
const MODEL = new URL('./model/', self.location.href);
const MAKE = 'python -m ganmut export photos/wheel --onnx docs/browser/model --faces';
const FORMAT = 1; // of editor.json
const NETWORKS = ['faces', 'mouth', 'encode', 'decode'];
const VIEW_SIDE = 1024; // px of the picture that a drag shows
const DRAG_CROP = 256, MAX_CROP = 1024; // px of the crop of a drag, and of any edit

const state = { ort: null, sessions: {}, facts: null, picture: null, faces: [], levels: {}, number: 0 };

class Problem extends Error {} // a sentence for the visitor

// Answers the page, which may have opened another picture by then.
const tell = (message, moved = []) => postMessage({ ...message, number: state.number }, moved);

async function start() {
  if (typeof WebAssembly === 'undefined') {
    throw new Problem('This browser has no WebAssembly, which the page computes with: open it in a current version of Chrome, Firefox, Edge or Safari.');
  }
  try {
    state.ort = await import(`${RUNTIME}ort.wasm.min.mjs`);
  } catch {
    throw new Problem(`onnxruntime-web could not be loaded from ${new URL(RUNTIME).host}: check the connection and load the page again.`);
  }
  state.ort.env.wasm.wasmPaths = RUNTIME;
  state.ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
  state.ort.env.logLevel = 'error';
  const [facts, ...graphs] = await Promise.all(['editor.json', ...NETWORKS.map((name) => `${name}.onnx`)].map(load));
  const stated = JSON.parse(new TextDecoder().decode(facts));
  if (stated.format !== FORMAT || !stated.covered_mouth) throw new Problem(`The model files are of another version. Make them again with: ${MAKE}`);
  state.facts = stated;
  for (const [i, name] of NETWORKS.entries()) {
    // To look for what can be simplified takes longer than it saves, but for what runs at every move.
    const graphOptimizationLevel = name === 'decode' ? 'basic' : 'disabled';
    state.sessions[name] = await state.ort.InferenceSession.create(new Uint8Array(graphs[i]), { graphOptimizationLevel });
  }
  tell({ ready: state.facts });
}

async function load(name) {
  const answer = await fetch(new URL(name, MODEL)).catch(() => null);
  if (!answer?.ok) throw new Problem(`The model files are missing (${name}). Make them with: ${MAKE}`);
  return answer.arrayBuffer();
}

async function readWindows(windows) {
  const tensor = new state.ort.Tensor('float32', windows, [windows.length / 4096, 1, 64, 64]);
  const { points, logits } = await state.sessions.faces.run({ windows: tensor });
  return { points: points.data, logits: logits.data };
}

async function open(picture) {
  Object.assign(state, { picture, levels: {}, faces: [] });
  state.faces = await findFaces(picture, readWindows);
  if (!state.faces.length) {
    throw new Problem('No face was found: choose a picture in which an upright face looks towards the camera and fills a tenth of the picture or more.');
  }
  tell({ faces: state.faces.map(({ box, points }) => ({ box, points })) });
  await choose(0);
}

// Whether something covers the mouth of a face, as prepare_crop of ganmut/faces/pipeline.py asks.
async function checkMouth(points) {
  const { size, above, refusal } = state.facts.covered_mouth;
  const crops = luma(cropFace(state.picture, points, size).planes, undefined, 0, 1 / 255);
  const { logits } = await state.sessions.mouth.run({ crops: new state.ort.Tensor('float32', crops, [1, 1, size, size]) });
  if (logits.data[0] > above) throw new Problem(`${refusal[0].toUpperCase()}${refusal.slice(1)}.`);
}

// The levels of a face: `view`, small enough for a drag, and `whole`, what is saved.
async function choose(number) {
  const { picture, facts } = state, { margin, size } = facts, { points } = state.faces[number];
  await checkMouth(points);
  const extent = size / scaleOf(alignment(points, size));
  // As Editor.crop_size: never below the model's size, never above what memory allows.
  const side = Math.round(Math.min(Math.max(extent, size), MAX_CROP / margin) * margin);
  const small = shrink(picture, VIEW_SIDE);
  state.levels = {};
  const moved = points.map((p) => p.map((v) => (v + 0.5) * small.scale - 0.5));
  if (small.scale === 1 && side <= 1.25 * DRAG_CROP) {
    state.levels.view = state.levels.whole = await prepare(picture, points, side);
  } else {
    const drag = Math.round(Math.min(Math.max(extent * small.scale, size) * margin, DRAG_CROP));
    state.levels.view = await prepare(small.picture, moved, drag);
    state.levels.whole = () => prepare(picture, points, side); // when a drag first comes to rest
  }
  tell({ chosen: number, view: small.picture });
}

async function prepare(picture, points, side) {
  const { ort, sessions, facts } = state, crop = cropFace(picture, points, side, facts.margin);
  const x = Float32Array.from(crop.planes.data, (v) => v / 127.5 - 1);
  const features = await sessions.encode.run({ images: new ort.Tensor('float32', x, [1, 3, side, side]) });
  const box = Array.from(features.box.data, Number);
  if (Math.min(box[2], box[3]) < 10) throw new Problem('The landmarks of this face lie outside of its crop: choose another picture.');
  const known = Object.fromEntries(sessions.decode.inputNames.filter((n) => n !== 'code').map((n) => [n, features[n]]));
  return { features: known, paste: new PasteBack(picture, crop.planes, crop.transform, box) };
}

async function edit(point, whole) {
  const start = performance.now(), name = whole ? 'whole' : 'view';
  if (typeof state.levels[name] === 'function') state.levels[name] = await state.levels[name]();
  const { features, paste } = state.levels[name];
  const code = new state.ort.Tensor('float32', Float32Array.from(point), [1, 2]);
  const { images } = await state.sessions.decode.run({ ...features, code });
  const patch = paste.paste(images.data);
  const both = state.levels.view === state.levels.whole;
  tell({ patch, whole: whole || both, both, point, ms: performance.now() - start }, [patch.data.buffer]);
}

let queue = start(); // one at a time: sessions of the runtime share memory
queue.catch(report);

self.onmessage = ({ data }) => {
  queue = queue.then(async () => {
    if (!state.facts) return;
    try {
      if (data.open) {
        state.number = data.number;
        await open(data.open);
      }
      if (data.face !== undefined) await choose(data.face);
      if (data.edit && state.levels.view) await edit(data.edit, data.whole);
    } catch (problem) {
      report(problem);
    }
  }, () => {});
};

function report(problem) {
  const said = problem instanceof Problem ? problem.message : `The edit failed: ${problem.message ?? problem}. Load the page again.`;
  tell({ error: said, started: Boolean(state.facts) });
}
