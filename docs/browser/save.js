// The edited picture as a file, with the marks of ganmut/encoding.py: a visible one in the lower
// left corner, and a comment.
const MARK = 'expression edited with ganmut';
const SHORTER = ['edited with ganmut', 'ganmut']; // where half of a small picture does not hold MARK
const QUALITY = 0.95; // of JPEG

// A Blob of a canvas, PNG or JPEG.
export async function encode(canvas, jpeg) {
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
  const type = jpeg ? 'image/jpeg' : 'image/png';
  const blob = await new Promise((done) => copy.toBlob(done, type, QUALITY));
  const bytes = new Uint8Array(await blob.arrayBuffer()), text = new TextEncoder().encode(MARK);
  // The comment follows JPEG's start marker, or PNG's signature and header.
  const [at, comment] = jpeg ? [2, jpegComment(text)] : [33, pngComment(text)];
  return new Blob([bytes.subarray(0, at), comment, bytes.subarray(at)], { type });
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
