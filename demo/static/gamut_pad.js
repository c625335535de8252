// Runs once when the pad appears. The template is drawn anew at every move, so listeners sit on `element`.
const WIDTH = 2.64, HEIGHT = 2.4; // the drawing's viewBox; the middle is (0, 0)
const STEP = 0.02, LEAP = 0.1;
let held = null; // where the pointer went down, and whether it has moved since

function bounded(x, y) {
  if (props.shape === 'disc') {
    const length = Math.max(1, Math.hypot(x, y));
    return [x / length, y / length];
  }
  return [x, y].map((v) => Math.min(1, Math.max(-1, v)));
}

function under(event) {
  const box = element.querySelector('.pad').getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width - 0.5) * WIDTH,
    (0.5 - (event.clientY - box.top) / box.height) * HEIGHT,
  ];
}

function put(x, y) {
  [x, y] = bounded(x, y).map((v) => Math.round(v * 1000) / 1000);
  if (x === props.value.x && y === props.value.y) return;
  props.value = { x, y };
  trigger('input');
}

element.addEventListener('pointerdown', (event) => {
  const pad = event.target.closest('.pad');
  if (!pad || event.button > 0) return;
  event.preventDefault();
  pad.focus({ preventScroll: true });
  element.setPointerCapture(event.pointerId);
  const mark = event.target.closest('.mark'); // a name puts the point exactly on its emotion
  held = { x: event.clientX, y: event.clientY, moved: !mark };
  put(...(mark ? [Number(mark.dataset.x), Number(mark.dataset.y)] : under(event)));
});

element.addEventListener('pointermove', (event) => {
  if (!held) return;
  held.moved ||= Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4;
  if (held.moved) put(...under(event));
});

const drop = () => {
  if (held) trigger('release');
  held = null;
};
element.addEventListener('pointerup', drop);
element.addEventListener('pointercancel', drop);

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
element.addEventListener('keydown', (event) => {
  const move = MOVES[event.key];
  if (!move || !event.target.closest('.pad')) return;
  event.preventDefault();
  const step = event.shiftKey ? LEAP : STEP;
  put(props.value.x + step * move[0], props.value.y + step * move[1]);
});
element.addEventListener('keyup', (event) => {
  if (MOVES[event.key] && event.target.closest('.pad')) trigger('release');
});

element.addEventListener('dblclick', (event) => {
  const [x, y] = under(event); // the target is no help: who captures the pointer gets the click
  if (Math.abs(x) > WIDTH / 2 || Math.abs(y) > HEIGHT / 2) return;
  const far = (mark) => Math.hypot(mark.x - x, mark.y - y);
  const near = props.marks.reduce((a, b) => (far(b) < far(a) ? b : a));
  put(near.x, near.y);
  trigger('release');
});
