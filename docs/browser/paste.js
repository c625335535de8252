// Pastes the change of a crop into its picture (ganmut/faces/paste_back.py): the edited crop minus
// the source, enlarged and added under a feathered mask. No change gives the same bytes.
import { apply, inverse, resample } from './pixels.js';

const FEATHER = 0.25; // width of the fade at the crop's border, in half sides of the crop

export class PasteBack {
  // picture: RGBA; source: the crop's planes, 0..255; transform: picture -> crop; box: top, left,
  // height and width of what an edit can change in the crop.
  constructor(picture, source, transform, [top, left, height, width]) {
    this.picture = picture;
    this.source = source;
    const back = inverse(transform);
    // Three pixels more than the box: the reach of the bicubic kernel.
    const corners = [[left - 3, top - 3], [left + width + 2, top - 3], [left - 3, top + height + 2], [left + width + 2, top + height + 2]]
      .map((corner) => apply(back, corner));
    const [xs, ys] = [0, 1].map((i) => corners.map((corner) => corner[i]));
    this.left = Math.max(Math.floor(Math.min(...xs)), 0);
    this.top = Math.max(Math.floor(Math.min(...ys)), 0);
    this.width = Math.min(Math.ceil(Math.max(...xs)) + 1, picture.width) - this.left;
    this.height = Math.min(Math.ceil(Math.max(...ys)) + 1, picture.height) - this.top;
    const [x, y] = apply(transform, [this.left, this.top]);
    this.toCrop = { a: transform.a, b: transform.b, x, y };
    this.mask = this.feather(source.width);
  }

  // 1 over the face, 0 at the crop's border; the level lines are superellipses.
  feather(size) {
    const mask = new Float32Array(this.width * this.height), { a, b, x: dx, y: dy } = this.toCrop;
    for (let y = 0, at = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++, at++) {
        const u = ((a * x - b * y + dx + 0.5) / size) * 2 - 1, v = ((b * x + a * y + dy + 0.5) / size) * 2 - 1;
        const ramp = Math.min(Math.max((1 - (u ** 4 + v ** 4) ** 0.25) / FEATHER, 0), 1);
        mask[at] = ramp * ramp * (3 - 2 * ramp);
      }
    }
    return mask;
  }

  // { data: RGBA, left, top, width, height }: the part of the picture that the edit changes.
  // edited: Float32Array 3 x S x S in [-1, 1].
  paste(edited) {
    const { source, picture, left, top, width, height, mask } = this, size = width * height;
    const change = new Float32Array(edited.length);
    for (let i = 0; i < edited.length; i++) {
      change[i] = Math.min(Math.max(Math.round((edited[i] + 1) * 127.5), 0), 255) - source.data[i];
    }
    const planes = { data: change, channels: 3, width: source.width, height: source.height };
    const read = (x, y, w, h) => rectangle(planes, x, y, w, h);
    const grown = resample(read, planes, this.toCrop, width, height);
    const data = new Uint8ClampedArray(4 * size);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const from = 4 * ((top + y) * picture.width + left + x);
        for (let c = 0; c < 3; c++) data[4 * at + c] = picture.data[from + c] + grown.data[c * size + at] * mask[at];
        data[4 * at + 3] = picture.data[from + 3];
      }
    }
    return { data, left, top, width, height };
  }
}

function rectangle({ data, channels, width: stride, height: rows }, left, top, width, height) {
  if (width === stride && height === rows) return { data, channels, width, height };
  const out = new Float32Array(channels * width * height);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const from = (c * rows + top + y) * stride + left;
      out.set(data.subarray(from, from + width), (c * height + y) * width);
    }
  }
  return { data: out, channels, width, height };
}
