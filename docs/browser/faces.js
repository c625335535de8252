// Finds faces with the five-point network: the sliding windows, passes and limits of the builtin
// detector (ganmut/faces/detectors/builtin.py). Its cascade is not here, so every picture is scanned.
// read(windows): { points, logits } of Float32Array windows, n x 64 x 64 in 0..1.
import { alignment, apply, cropFace, inverse, planesOf, resize, scaleOf, shrink } from './pixels.js';

const SIZE = 64; // px of a window
const SIDES = [256, 512]; // px of the picture that is scanned; the larger one where no face was found
const MIN_SCORE = 0.995, MAX_SHIFT = 0.15, COUNT = 12, SMALLEST = 48, CHUNK = 64;
const CERTAIN = Math.log(MIN_SCORE / (1 - MIN_SCORE)), FURTHER = 4; // a logit; levels from there on, to half the side
const BOX_SIDE = 0.8, CENTRE = [0.5, 0.48]; // the box of a face (brow to chin) in its crop
const LUMA = [0.299, 0.587, 0.114];

// The luminance of planes in 0..255, times a factor.
export function luma({ data, width, height }, out = new Float32Array(width * height), at = 0, factor = 1) {
  const size = width * height;
  for (let i = 0; i < size; i++) {
    out[at + i] = (LUMA[0] * data[i] + LUMA[1] * data[size + i] + LUMA[2] * data[2 * size + i]) * factor;
  }
  return out;
}

// The points of n windows in pixels of each, and their scores.
async function readAll(windows, read) {
  const count = windows.length / (SIZE * SIZE), points = [], logits = [];
  for (let first = 0; first < count; first += CHUNK) {
    const part = windows.subarray(first * SIZE * SIZE, Math.min(first + CHUNK, count) * SIZE * SIZE);
    const found = await read(part);
    for (let i = 0; i < found.logits.length; i++) {
      points.push(Array.from({ length: 5 }, (_, k) => [found.points[10 * i + 2 * k], found.points[10 * i + 2 * k + 1]]));
      logits.push(found.logits[i]);
    }
  }
  return { points, logits };
}

// The points of the windows with the highest scores, over all scales.
async function scan(picture, read) {
  const { width, height } = picture;
  const grey = { data: luma(planesOf(picture, 0, 0, width, height)), channels: 1, width, height };
  const found = [];
  let left = Infinity; // of the levels
  for (let side = 1.25 * Math.max(width, height); side > SMALLEST && left > 0; side /= 1.3, left--) {
    const ratio = SIZE / side, step = SIZE / 4, rim = SIZE / 2;
    const level = resize(grey, Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio)), 'linear');
    const rows = Math.floor(level.height / step) + 1, columns = Math.floor(level.width / step) + 1;
    const windows = new Float32Array(rows * columns * SIZE * SIZE);
    let at = 0;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        for (let y = 0; y < SIZE; y++) {
          const line = Math.min(Math.max(r * step - rim + y, 0), level.height - 1) * level.width;
          for (let x = 0; x < SIZE; x++) {
            windows[at++] = level.data[line + Math.min(Math.max(c * step - rim + x, 0), level.width - 1)] / 255;
          }
        }
      }
    }
    const { points, logits } = await readAll(windows, read);
    // Smaller windows are more and more: they end soon after those that show a face.
    if (left === Infinity && logits.some((logit) => logit > CERTAIN)) left = FURTHER;
    points.forEach((five, i) => {
      const corner = [(i % columns) * step - rim, Math.floor(i / columns) * step - rim];
      found.push({ logit: logits[i], points: five.map((p) => p.map((v, k) => (v + corner[k] + 0.5) / ratio - 0.5)) });
    });
  }
  return found.sort((a, b) => b.logit - a.logit).slice(0, COUNT).map((window) => window.points);
}

// One pass: the points of aligned windows, located in them, and their scores.
async function locate(picture, faces, read) {
  const crops = faces.map((points) => cropFace(picture, points, SIZE));
  const windows = new Float32Array(crops.filter(Boolean).length * SIZE * SIZE);
  let at = 0;
  for (const crop of crops.filter(Boolean)) {
    luma(crop.planes, windows, at, 1 / 255);
    at += SIZE * SIZE;
  }
  const { points, logits } = await readAll(windows, read);
  let row = 0;
  return crops.map((crop, i) => {
    if (!crop) return { points: faces[i], score: 0 };
    const back = inverse(crop.transform);
    const found = { points: points[row].map((p) => apply(back, p)), score: 1 / (1 + Math.exp(-logits[row])) };
    row++;
    return found;
  });
}

// The face of five points with its box; null above 60 degrees of roll or without an alignment.
function faceOf({ points, score }) {
  const transform = alignment(points, SIZE);
  if (!transform || Math.abs(Math.atan2(transform.b, transform.a)) > Math.PI / 3) return null;
  const [x, y] = apply(inverse(transform), [(SIZE - 1) / 2, (SIZE - 1) / 2]);
  const side = (BOX_SIDE * SIZE) / scaleOf(transform);
  return { points, score, box: [x + 0.5 - CENTRE[0] * side, y + 0.5 - CENTRE[1] * side, side, side] };
}

function overlap({ box: [ax, ay, aw, ah] }, { box: [bx, by, bw, bh] }) {
  const width = Math.min(ax + aw, bx + bw) - Math.max(ax, bx);
  const height = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  return (Math.max(width, 0) * Math.max(height, 0)) / Math.max(Math.min(aw * ah, bw * bh), 1e-9);
}

// The faces, largest first, without those that overlap one of a higher score by more than a half.
function suppress(faces) {
  const kept = [];
  for (const face of faces.sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => overlap(face, other) <= 0.5)) kept.push(face);
  }
  return kept.sort((a, b) => b.box[2] - a.box[2]);
}

const accepted = (found) => found.filter(({ score }) => score >= MIN_SCORE).map(faceOf).filter(Boolean);

async function verify(picture, initial, read) {
  let found = await locate(picture, initial, read);
  found = await locate(picture, found.filter(({ score }) => score > 0.1).map(({ points }) => points), read);
  const before = suppress(accepted(found)).map(({ points }) => points);
  found = await locate(picture, before, read);
  // False alarms have points that keep moving from pass to pass.
  const steady = found.filter(({ points }, i) => {
    const shift = points.reduce((sum, p, k) => sum + Math.hypot(p[0] - before[i][k][0], p[1] - before[i][k][1]), 0) / 5;
    return shift <= MAX_SHIFT * Math.hypot(points[1][0] - points[0][0], points[1][1] - points[0][1]);
  });
  return suppress(accepted(steady));
}

// The upright faces of a picture, largest first: { points: 5 x 2 px, score, box: x, y, width, height }.
export async function findFaces(picture, read) {
  for (const side of SIDES) {
    const { picture: small, scale } = shrink(picture, side);
    const faces = await verify(small, await scan(small, read), read);
    if (faces.length) {
      const whole = faces.map(({ points }) => points.map((p) => p.map((v) => (v + 0.5) / scale - 0.5)));
      const refined = scale < 1 ? await locate(picture, whole, read) : faces;
      return refined.map((face, i) => faceOf(face) ?? faceOf({ points: whole[i], score: faces[i].score }));
    }
    if (scale === 1) break;
  }
  return [];
}
