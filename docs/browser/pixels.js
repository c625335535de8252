// Pixels as Python has them: alignment, crops and resizing of ganmut/faces/align.py.
// A picture is { data: RGBA bytes, width, height }; planes are { data: Float32Array, channels x
// height x width, channels, width, height }. Pixel centres lie at integers.

// ArcFace's five points in a crop of 128 px (align.TEMPLATE).
const ARCFACE = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];
const TEMPLATE = ARCFACE.map(([x, y]) => [(x * 128) / 112, (y * 128) / 112 - 7]);

export const template = (size) =>
  TEMPLATE.map((point) => point.map((v) => ((v + 0.5) * size) / 128 - 0.5));

const mean = (points, i) => points.reduce((sum, point) => sum + point[i], 0) / points.length;

// A similarity { a, b, x, y }: (u, v) -> (a u - b v + x, b u + a v + y).
export const apply = (t, [u, v]) => [t.a * u - t.b * v + t.x, t.b * u + t.a * v + t.y];
export const scaleOf = (t) => Math.hypot(t.a, t.b);

export function inverse(t) {
  const power = t.a * t.a + t.b * t.b;
  const a = t.a / power, b = -t.b / power;
  return { a, b, x: -(a * t.x - b * t.y), y: -(b * t.x + a * t.y) };
}

// The least-squares similarity from five points of a picture to a crop of `size` px (Umeyama 1991);
// null where they define none. margin: side of the region shown, in sides of the aligned crop.
export function alignment(points, size, margin = 1) {
  const aim = template(size);
  const [mx, my, nx, ny] = [mean(points, 0), mean(points, 1), mean(aim, 0), mean(aim, 1)];
  let power = 0, real = 0, imaginary = 0;
  points.forEach(([px, py], i) => {
    const [u, v, s, t] = [px - mx, py - my, aim[i][0] - nx, aim[i][1] - ny];
    power += u * u + v * v;
    real += u * s + v * t;
    imaginary += u * t - v * s;
  });
  const a = real / power, b = imaginary / power;
  if (!Number.isFinite(a + b) || Math.hypot(a, b) < 1e-6) return null;
  const middle = ((size - 1) / 2) * (1 - 1 / margin);
  const x = nx - (a * mx - b * my), y = ny - (b * mx + a * my);
  return { a: a / margin, b: b / margin, x: x / margin + middle, y: y / margin + middle };
}

const cubicKernel = (a) => (x) => {
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
};
const KERNELS = {
  cubic: { reach: 2, weight: cubicKernel(-0.5) },
  linear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  box: { reach: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
};

// Weights of a separable antialiased resizing from n to m pixels, as torch and Pillow compute them.
function taps(n, m, { reach, weight }) {
  const scale = n / m, wide = Math.max(scale, 1);
  return Array.from({ length: m }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(Math.floor(centre - reach * wide + 0.5), 0);
    const stop = Math.min(Math.floor(centre + reach * wide + 0.5), n);
    const weights = [];
    for (let k = start; k < stop; k++) weights.push(weight((k + 0.5 - centre) / wide));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return { start, weights: weights.map((w) => w / total) };
  });
}

// Planes resized to width x height with antialiasing; kernel: cubic, linear or box.
export function resize(planes, width, height, kernel) {
  const { channels, width: w, height: h } = planes;
  if (w === width && h === height) return planes;
  const across = taps(w, width, KERNELS[kernel]), down = taps(h, height, KERNELS[kernel]);
  const rows = new Float32Array(channels * h * width), out = new Float32Array(channels * height * width);
  for (let y = 0; y < channels * h; y++) {
    for (let x = 0; x < width; x++) {
      const { start, weights } = across[x];
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * planes.data[y * w + start + k];
      rows[y * width + x] = sum;
    }
  }
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const { start, weights } = down[y];
      const to = (c * height + y) * width;
      for (let k = 0; k < weights.length; k++) {
        const from = (c * h + start + k) * width, share = weights[k];
        for (let x = 0; x < width; x++) out[to + x] += share * rows[from + x];
      }
    }
  }
  return { data: out, channels, width, height };
}

// A rectangle of a picture as float planes.
export function planesOf({ data, width: stride }, left, top, width, height) {
  const out = new Float32Array(3 * height * width), size = height * width;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = 4 * ((top + y) * stride + left + x), to = y * width + x;
      for (let c = 0; c < 3; c++) out[c * size + to] = data[from + c];
    }
  }
  return { data: out, channels: 3, width, height };
}

// A picture with its transparent parts on white, as Python reads it (colours.on_white); itself where
// it is opaque.
export function onWhite(picture) {
  const { data, width, height } = picture;
  let opaque = true;
  for (let i = 3; i < data.length && opaque; i += 4) opaque = data[i] === 255;
  if (opaque) return picture;
  const out = new Uint8ClampedArray(data.length).fill(255);
  for (let i = 0; i < data.length; i++) {
    if (i % 4 < 3) out[i] = 255 + ((data[i] - 255) * data[i | 3]) / 255;
  }
  return { data: out, width, height };
}

// A smaller picture with a longer side of at most `longest` px, and its scale.
export function shrink(picture, longest) {
  const scale = Math.min(1, longest / Math.max(picture.width, picture.height));
  if (scale === 1) return { picture, scale };
  const [width, height] = [picture.width, picture.height].map((n) => Math.max(1, Math.round(n * scale)));
  const small = resize(planesOf(picture, 0, 0, picture.width, picture.height), width, height, 'box');
  return { picture: pictureOf(small), scale };
}

// Planes as an opaque picture.
export function pictureOf({ data, width, height }) {
  const size = width * height, out = new Uint8ClampedArray(4 * size).fill(255);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) out[4 * i + c] = Math.round(data[c * size + i]);
  }
  return { data: out, width, height };
}

// What a sampling of planes at `matrix` (output -> input pixels) for width x height pixels reads,
// reduced to the output's resolution where that is lower: bicubic values would alias.
function reduced(read, whole, matrix, width, height) {
  const corners = [[0, 0], [width, 0], [0, height], [width, height]].map((p) => apply(matrix, p));
  const step = scaleOf(matrix), margin = 3 * step + 3;
  const [xs, ys] = [0, 1].map((i) => corners.map((corner) => corner[i]));
  const left = Math.max(Math.floor(Math.min(...xs) - margin), 0);
  const top = Math.max(Math.floor(Math.min(...ys) - margin), 0);
  const right = Math.min(Math.ceil(Math.max(...xs) + margin), whole.width);
  const bottom = Math.min(Math.ceil(Math.max(...ys) + margin), whole.height);
  if (right <= left || bottom <= top) return null;
  const [w, h] = [right - left, bottom - top];
  const [sw, sh] = step > 1 ? [w, h].map((n) => Math.max(1, Math.round(n / step))) : [w, h];
  return { planes: resize(read(left, top, w, h), sw, sh, 'cubic'), left, top, across: sw / w, down: sh / h };
}

const A = -0.75; // of torch's bicubic grid_sample
function cubicWeights(t, out) {
  const s = 1 - t;
  out[0] = (((t + 1 - 5) * (t + 1) + 8) * (t + 1) - 4) * A;
  out[1] = ((A + 2) * t - (A + 3)) * t * t + 1;
  out[2] = ((A + 2) * s - (A + 3)) * s * s + 1;
  out[3] = (((s + 1 - 5) * (s + 1) + 8) * (s + 1) - 4) * A;
}

// Bicubic planes of width x height pixels whose pixel p shows `matrix` p of the input, the border
// repeated (align.resample); null where nothing of the input shows.
export function resample(read, whole, matrix, width, height) {
  const source = reduced(read, whole, matrix, width, height);
  if (!source) return null;
  const { planes, left, top, across, down } = source;
  const { data, channels, width: w, height: h } = planes;
  const out = new Float32Array(channels * height * width);
  const wx = new Float64Array(4), wy = new Float64Array(4), xs = new Int32Array(4), ys = new Int32Array(4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const px = (matrix.a * x - matrix.b * y + matrix.x - left + 0.5) * across - 0.5;
      const py = (matrix.b * x + matrix.a * y + matrix.y - top + 0.5) * down - 0.5;
      const fx = Math.floor(px), fy = Math.floor(py);
      cubicWeights(px - fx, wx);
      cubicWeights(py - fy, wy);
      for (let k = 0; k < 4; k++) {
        xs[k] = Math.min(Math.max(fx - 1 + k, 0), w - 1);
        ys[k] = Math.min(Math.max(fy - 1 + k, 0), h - 1) * w;
      }
      for (let c = 0; c < channels; c++) {
        const plane = c * h * w;
        let sum = 0;
        for (let j = 0; j < 4; j++) {
          const row = plane + ys[j];
          sum += wy[j] * (wx[0] * data[row + xs[0]] + wx[1] * data[row + xs[1]] + wx[2] * data[row + xs[2]] + wx[3] * data[row + xs[3]]);
        }
        out[(c * height + y) * width + x] = sum;
      }
    }
  }
  return { data: out, channels, width, height };
}

// { planes, transform }: the aligned crop of a face in whole numbers 0..255, and picture -> crop;
// null where the points define none (align.crop_face).
export function cropFace(picture, points, size, margin = 1) {
  const transform = alignment(points, size, margin);
  if (!transform) return null;
  const read = (...region) => planesOf(picture, ...region);
  const planes = resample(read, picture, inverse(transform), size, size);
  if (!planes) return null;
  planes.data.forEach((v, i, all) => (all[i] = Math.min(Math.max(Math.round(v), 0), 255)));
  return { planes, transform };
}
