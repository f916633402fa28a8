// Editor: lines and zones drawn on one stream's picture, told to /analytics.
const SVG = document.getElementById('tile').content.querySelector('svg').namespaceURI;
const KINDS = { line: 'lines', zone: 'zones' };
const HINTS = {
  line: 'Click where the line begins and where it ends.',
  zone: 'Click the corners; click the first one again to close the zone.',
  none: 'Choose one to change it, or draw a new one. Who crosses a line along its arrow goes in.',
  chosen: 'Drag the corners, then save.',
};
const NEAR = 14;  // pixels on screen within which a click is on a corner

export class Editor {
  constructor(tile, stream, send) {
    this.stream = stream;
    this.send = send;
    this.size = [0, 0];     // of the stream's pictures
    this.shapes = [];       // {kind, name, points in shares, told}
    this.chosen = null;
    this.draft = null;      // {kind, points} while one is drawn
    this.part = (selector) => tile.querySelector(selector);
    this.sheet = this.part('.sheet');
    this.form = this.part('.tools');
    this.part('[data-do=draw]').onclick = () => this.toggle();
    this.part('[data-do=line]').onclick = () => this.begin('line');
    this.part('[data-do=zone]').onclick = () => this.begin('zone');
    this.part('[data-do=turn]').onclick = () => { this.chosen.points.reverse(); this.draw(); };
    this.part('[data-do=delete]').onclick = () => this.remove();
    this.form.onsubmit = (event) => { event.preventDefault(); this.save(); };
    this.form.onkeydown = (event) => { if (event.key === 'Escape') this.choose(null); };
    this.sheet.onpointerdown = (event) => this.press(event);
    this.sheet.onpointermove = (event) => this.move(event);
    this.sheet.onpointerup = () => { this.held = -1; };
    this.held = -1;         // the corner that is dragged
  }

  get field() { return this.form.elements; }

  async toggle() {
    const open = this.form.hidden;
    if (open && !await this.load()) return;
    this.form.hidden = !open;
    this.sheet.toggleAttribute('hidden', !open);
    this.part('[data-do=draw]').setAttribute('aria-pressed', String(open));
    this.choose(null);
  }

  async load() {
    const told = await this.send('GET', '/analytics');
    if (!told) return false;
    this.told = told;
    this.field.anchor.replaceChildren(...told.anchors.map((name) => new Option(name)));
    const mine = (shape) => !shape.streams?.length || shape.streams.includes(this.stream);
    this.shapes = Object.entries(KINDS).flatMap(([kind, kinds]) => Object.entries(told[kinds])
      .filter(([, shape]) => mine(shape))
      .map(([name, shape]) => ({ kind, name, told: shape, points: this.shares(shape.points) })));
    return true;
  }

  shares(points) {
    const [width, height] = points.flat().every((value) => value <= 1) ? [1, 1] : this.size;
    return points.map(([x, y]) => [x / width, y / height]);
  }

  begin(kind) {
    this.choose(null);
    this.draft = { kind, points: [] };
    this.hint(HINTS[kind]);
  }

  choose(shape) {
    this.draft = null;
    this.chosen = shape;
    this.part('fieldset').hidden = !shape;
    this.hint(shape ? HINTS.chosen : HINTS.none);
    if (shape) this.fill(shape);
    this.draw();
  }

  fill({ kind, name, told }) {
    const { field } = this;
    field.name.value = name;
    field.classes.value = (told.classes ?? []).join(', ');
    field.anchor.value = told.anchor ?? 'feet';
    field.dwell.value = told.dwell ?? '';
    field.crowd.value = told.crowd ?? '';
    field.all.checked = !told.streams?.length;
    for (const part of this.form.querySelectorAll('.of-zone')) part.hidden = kind !== 'zone';
    for (const part of this.form.querySelectorAll('.of-line')) part.hidden = kind !== 'line';
  }

  hint(words) {
    const where = this.told?.file ? `Kept in ${this.told.file}.` : 'Kept until the run ends: it has no pipeline file.';
    this.part('.hint').textContent = this.told?.watching ? `${words} ${where}` : 'Counting needs tracks: start with --track bytetrack.';
    this.part('[data-do=line]').disabled = this.part('[data-do=zone]').disabled = !this.told?.watching;
  }

  // Return where the pointer is, in shares of the picture.
  place(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.sheet.getScreenCTM().inverse());
    const [width, height] = this.size;
    return [Math.min(Math.max(at.x / width, 0), 1), Math.min(Math.max(at.y / height, 0), 1)];
  }

  corner(points, event) {
    const scale = this.sheet.getScreenCTM();
    return points.findIndex(([x, y]) => Math.hypot(
      x * this.size[0] * scale.a + scale.e - event.clientX, y * this.size[1] * scale.d + scale.f - event.clientY) < NEAR);
  }

  press(event) {
    event.preventDefault();
    if (this.draft) {
      this.add(event);
    } else if (this.chosen) {
      this.held = this.corner(this.chosen.points, event);
      if (this.held >= 0) this.sheet.setPointerCapture(event.pointerId);
    }
  }

  add(event) {
    const { kind, points } = this.draft;
    const closes = kind === 'zone' && points.length > 2 && this.corner(points, event) === 0;
    if (!closes) points.push(this.place(event));
    if (closes || (kind === 'line' && points.length === 2)) {
      const shape = { kind, name: this.unused(kind), points, told: { streams: [this.stream] }, isNew: true };
      this.choose(shape);
      return;
    }
    this.draw();
  }

  unused(kind) {
    for (let number = 1; ; number++) {
      const name = `${kind} ${number}`;
      if (!(name in this.told[KINDS[kind]])) return name;
    }
  }

  move(event) {
    if (this.held < 0 || !this.chosen) return;
    this.chosen.points[this.held] = this.place(event);
    this.draw();
  }

  async save() {
    const { kind, points, told, isNew, name: before } = this.chosen;
    const { field } = this;
    const name = field.name.value.trim();
    const rounded = (value) => Math.round(value * 1e4) / 1e4;
    const shape = { ...told, points: points.map((point) => point.map(rounded)) };
    const set = (key, value, none) => { if (value === none) delete shape[key]; else shape[key] = value; };
    set('anchor', field.anchor.value, 'feet');
    const classes = field.classes.value.split(',').map((word) => word.trim()).filter(Boolean);
    set('classes', classes.length ? classes : null, null);
    set('streams', field.all.checked ? null : told.streams ?? [this.stream], null);
    if (kind === 'zone') {
      set('dwell', Number(field.dwell.value), 0);
      set('crowd', Number(field.crowd.value), 0);
    }
    if (!await this.send('PUT', this.path(kind, name), shape)) return;
    if (!isNew && name !== before) await this.send('DELETE', this.path(kind, before));
    await this.load();
    this.choose(null);
  }

  async remove() {
    const { kind, name, isNew } = this.chosen;
    if (!isNew && !await this.send('DELETE', this.path(kind, name))) return;
    await this.load();
    this.choose(null);
  }

  path(kind, name) { return `/analytics/${KINDS[kind]}/${encodeURIComponent(name)}`; }

  draw() {
    const [width, height] = this.size;
    this.sheet.setAttribute('viewBox', `0 0 ${width || 16} ${height || 9}`);
    const shapes = this.chosen && this.chosen.isNew ? [...this.shapes, this.chosen] : this.shapes;
    this.sheet.replaceChildren(...[...shapes, ...(this.draft ? [this.draft] : [])].flatMap((shape) => this.drawn(shape)));
    this.part('.shapes').replaceChildren(...this.shapes.map((shape) => {
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: shape.name });
      button.setAttribute('aria-pressed', String(shape === this.chosen));
      button.onclick = () => this.choose(shape);
      return button;
    }));
  }

  drawn(shape) {
    const points = shape.points.map(([x, y]) => [x * this.size[0], y * this.size[1]]);
    const isOpen = shape.kind === 'line' || shape === this.draft;
    const outline = made(isOpen ? 'polyline' : 'polygon', { points: points.map((point) => point.join(',')).join(' ') });
    if (shape === this.chosen) outline.classList.add('chosen');
    const parts = [outline];
    const pixel = 1 / (this.sheet.getScreenCTM()?.a || 1);  // on screen, in pixels of the picture
    if (shape.kind === 'line' && points.length === 2) parts.push(arrow(...points, 30 * pixel));
    if (shape === this.chosen || shape === this.draft) {
      const r = 6 * pixel;
      parts.push(...points.map(([cx, cy]) => made('circle', { cx, cy, r })));
    }
    return parts;
  }
}

// An arrow from a line's middle to where "in" is, `long` units long.
function arrow([x1, y1], [x2, y2], long) {
  const whole = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [x, y, dx, dy] = [(x1 + x2) / 2, (y1 + y2) / 2, (-(y2 - y1) / whole) * long, ((x2 - x1) / whole) * long];
  const barb = (side) => `${x + 0.6 * dx - side * 0.3 * dy} ${y + 0.6 * dy + side * 0.3 * dx}`;
  return made('path', { class: 'arrow', d: `M ${x} ${y} L ${x + dx} ${y + dy} M ${barb(1)} L ${x + dx} ${y + dy} L ${barb(-1)}` });
}

function made(kind, attributes) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
