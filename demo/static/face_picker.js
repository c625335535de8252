// Pixels of the photograph under the pointer: the drawing's own matrix knows how it lies there.
function under(event) {
  const svg = element.querySelector('svg');
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

let start = null; // where a square was begun
const put = (square) => {
  props.value = { ...props.value, square: square.map(Math.round) };
};

function take(box) {
  props.value = { ...props.value, number: Number(box.dataset.number), square: null };
  trigger('input');
}

element.addEventListener('click', (event) => {
  const box = event.target.closest('.box');
  if (box && props.value.boxes.length > 1) take(box);
});

element.addEventListener('pointerdown', (event) => {
  if (!event.target.closest('svg.draw')) return;
  event.preventDefault();
  element.setPointerCapture(event.pointerId);
  start = under(event);
});

element.addEventListener('pointermove', (event) => {
  if (!start) return;
  const end = under(event);
  const side = Math.max(Math.abs(end.x - start.x), Math.abs(end.y - start.y), 24);
  put([end.x < start.x ? start.x - side : start.x, end.y < start.y ? start.y - side : start.y, side]);
});

element.addEventListener('pointerup', (event) => {
  if (!start) return;
  const end = under(event);
  if (Math.hypot(end.x - start.x, end.y - start.y) < 8) { // a click puts the square there
    const side = props.value.square[2];
    put([end.x - side / 2, end.y - side / 2, side]);
  }
  start = null;
  trigger('input');
});

const MOVES = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], '+': [-0.5, -0.5, 1], '-': [0.5, 0.5, -1] };
element.addEventListener('keydown', (event) => {
  const box = event.target.closest('.box');
  if (box && (event.key === 'Enter' || event.key === ' ')) {
    event.preventDefault();
    take(box);
  }
  const move = MOVES[event.key];
  if (!move || !event.target.closest('svg.draw')) return;
  event.preventDefault();
  const step = props.value.square[2] * 0.08;
  put(props.value.square.map((v, i) => v + step * move[i]));
  trigger('input');
});
