// The wheel of emotions: a disc with a point that pointer and arrow keys move.
const WIDTH = 2.64, HEIGHT = 2.4; // the drawing's viewBox; the middle is (0, 0)
const STEP = 0.02, LEAP = 0.1;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const rounded = (v) => Math.round(v * 1000) / 1000;

export class Pad {
  // marks: [{ name, x, y, colour }]; moved(x, y): at every move; rested(): where a drag ends.
  constructor(element, marks, moved, rested) {
    Object.assign(this, { element, marks, moved, rested, x: 0, y: 0 });
    element.innerHTML = drawing(marks);
    this.point = element.querySelector('.point');
    let held = null;
    element.addEventListener('pointerdown', (event) => {
      if (event.button > 0) return;
      event.preventDefault();
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      const mark = event.target.closest('.mark'); // a name puts the point exactly on its emotion
      held = { x: event.clientX, y: event.clientY, moved: !mark };
      this.put(...(mark ? [Number(mark.dataset.x), Number(mark.dataset.y)] : this.under(event)));
    });
    element.addEventListener('pointermove', (event) => {
      if (!held) return;
      held.moved ||= Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4;
      if (held.moved) this.put(...this.under(event));
    });
    for (const end of ['pointerup', 'pointercancel']) {
      element.addEventListener(end, () => {
        if (held) rested();
        held = null;
      });
    }
    element.addEventListener('keydown', (event) => {
      const move = MOVES[event.key];
      if (!move) return;
      event.preventDefault();
      const step = event.shiftKey ? LEAP : STEP;
      this.put(this.x + step * move[0], this.y + step * move[1]);
    });
    element.addEventListener('keyup', (event) => MOVES[event.key] && rested());
  }

  under(event) {
    const box = this.element.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width - 0.5) * WIDTH, (0.5 - (event.clientY - box.top) / box.height) * HEIGHT];
  }

  put(x, y) {
    const length = Math.max(1, Math.hypot(x, y));
    [x, y] = [rounded(x / length), rounded(y / length)];
    if (x === this.x && y === this.y) return;
    Object.assign(this, { x, y });
    this.point.setAttribute('transform', `translate(${x} ${-y})`);
    this.moved(x, y);
  }
}

function drawing(marks) {
  const rings = [0.25, 0.5, 0.75, 1].map((r) => `<circle class="ring" r="${r}"/>`);
  const rays = marks.map(({ x, y, colour }) => `<path class="ray" stroke="${colour}" d="M0 0L${x} ${-y}"/>`);
  const names = marks.map(({ name, x, y, colour }) => {
    const outer = Math.hypot(x, y) > 0.5;
    const [tx, ty] = outer ? [x * 1.09, -y * 1.12 + 0.03] : [0, 0.14];
    const anchor = Math.abs(tx) < 0.3 ? 'middle' : tx > 0 ? 'end' : 'start';
    const [lx, ly] = outer && anchor !== 'middle' ? [x * 1.09 + Math.sign(x) * 0.2, -y * 1.12 + (Math.abs(y) < 0.2 ? -0.09 : 0.03)] : [tx, ty];
    return `<g class="mark" data-x="${x}" data-y="${y}"><circle cx="${x}" cy="${-y}" r=".034" fill="${colour}"/><text x="${lx}" y="${ly}" text-anchor="${anchor}">${name}</text></g>`;
  });
  return `<svg viewBox="${-WIDTH / 2} ${-HEIGHT / 2} ${WIDTH} ${HEIGHT}" aria-hidden="true">
    <defs><radialGradient id="night"><stop offset="0" stop-color="#35312d"/><stop offset=".9" stop-color="#1d1b19"/></radialGradient></defs>
    <circle class="ground" r="1.07"/>${rings.join('')}${rays.join('')}${names.join('')}
    <g class="point"><circle class="halo" r=".108"/><circle class="rim" r=".108"/><circle class="dot" r=".02"/></g></svg>`;
}
