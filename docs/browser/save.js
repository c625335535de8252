// The edited picture as a file, with the marks of ganmut/encoding.py: a visible one in the lower
// left corner, and a comment.
const MARK = 'expression edited with ganmut';
const SHORTER = ['edited with ganmut', 'ganmut']; // where half of a small picture does not hold MARK
const QUALITY = 0.95; // of JPEG

// A Blob of a canvas, PNG or JPEG. own: the picture as its file holds it; picture: the same on white,
// before the edit.
export async function encode(canvas, jpeg, { own, picture }) {
  const copy = document.createElement('canvas');
  Object.assign(copy, { width: canvas.width, height: canvas.height });
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0);
  const size = Math.max(Math.round(Math.min(copy.width, copy.height) / 40), 10), gap = Math.floor(size / 2);
  Object.assign(context, { font: `${size}px sans-serif`, fillStyle: 'white', strokeStyle: 'black', lineJoin: 'round' });
  context.lineWidth = 2 * Math.max(Math.floor(size / 10), 1);
  const seen = [MARK, ...SHORTER].find((text) => context.measureText(text).width <= copy.width / 2) ?? SHORTER.at(-1);
  context.strokeText(seen, gap, copy.height - gap);
  context.fillText(seen, gap, copy.height - gap);
  if (!jpeg && own !== picture) restore(context, canvas, own, picture);
  const type = jpeg ? 'image/jpeg' : 'image/png';
  const blob = await new Promise((done) => copy.toBlob(done, type, QUALITY));
  const bytes = new Uint8Array(await blob.arrayBuffer()), text = new TextEncoder().encode(MARK);
  // The comment follows JPEG's start marker, or PNG's signature and header.
  const [at, comment] = jpeg ? [2, jpegComment(text)] : [33, pngComment(text)];
  return new Blob([bytes.subarray(0, at), comment, bytes.subarray(at)], { type });
}

// Puts into a context, which shows the edited canvas with the mark, the file's own values with the
// change added (restore of ganmut/encoding.py): as much larger as less of a pixel is seen, none where
// nothing is. The mark is opaque.
function restore(context, canvas, own, picture) {
  const area = [0, 0, canvas.width, canvas.height];
  const edited = canvas.getContext('2d').getImageData(...area).data, marked = context.getImageData(...area).data;
  const out = own.data.slice(), before = picture.data;
  for (let i = 0; i < out.length; i += 4) {
    const alpha = out[i + 3];
    let mark = false;
    for (let c = i; c < i + 3; c++) mark ||= marked[c] !== edited[c];
    if (mark) out.set(marked.subarray(i, i + 4), i);
    else if (alpha) for (let c = i; c < i + 3; c++) out[c] += ((edited[c] - before[c]) * 255) / alpha;
  }
  context.putImageData(new ImageData(out, canvas.width, canvas.height), 0, 0);
}

const jpegComment = (text) => Uint8Array.from([0xff, 0xfe, (text.length + 2) >> 8, (text.length + 2) & 255, ...text]);

function pngComment(text) {
  const body = Uint8Array.from([...new TextEncoder().encode('tEXtComment'), 0, ...text]);
  const chunk = new DataView(new ArrayBuffer(body.length + 8));
  chunk.setUint32(0, body.length - 4);
  new Uint8Array(chunk.buffer).set(body, 4);
  chunk.setUint32(body.length + 4, crc(body));
  return new Uint8Array(chunk.buffer);
}

function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return (sum ^ 0xffffffff) >>> 0;
}
