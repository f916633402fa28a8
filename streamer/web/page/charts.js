// Charts: lines over the last two minutes, drawn on a canvas.
const POINTS = 120;
const HUES = [215, 25, 145, 340, 265, 45, 185, 300, 95, 0, 235, 165];

export const colour = (index) => `hsl(${HUES[index % HUES.length]} ${index < HUES.length ? 70 : 35}% 52%)`;

export class Chart {
  constructor(canvas) {
    this.canvas = canvas;
    this.lines = new Map();  // name -> values, the newest last
  }

  add(values) {
    for (const [name, value] of values) {
      if (!this.lines.has(name)) this.lines.set(name, []);
      const line = this.lines.get(name);
      line.push(value);
      if (line.length > POINTS) line.shift();
    }
    for (const name of this.lines.keys()) if (!values.has(name)) this.lines.delete(name);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const top = ceiling(Math.max(0, ...[...this.lines.values()].flat()));
    const left = 34;
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    pen.textAlign = 'right';
    pen.textBaseline = 'middle';
    for (let step = 0; step <= 2; step++) {
      const y = 8 + (height - 16) * (1 - step / 2);
      pen.strokeStyle = style.getPropertyValue('--line');
      pen.fillStyle = style.getPropertyValue('--quiet');
      pen.beginPath();
      pen.moveTo(left, y);
      pen.lineTo(width, y);
      pen.stroke();
      pen.fillText(short((top * step) / 2), left - 5, y);
    }
    pen.lineWidth = 1.6;
    pen.lineJoin = 'round';
    [...this.lines.values()].forEach((line, index) => {
      pen.strokeStyle = colour(index);
      pen.beginPath();
      line.forEach((value, at) => {
        const x = width - ((line.length - 1 - at) * (width - left)) / (POINTS - 1);
        const y = 8 + (height - 16) * (1 - value / top);
        if (at) pen.lineTo(x, y);
        else pen.moveTo(x, y);
      });
      pen.stroke();
    });
  }
}

function ceiling(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= value);
}

const short = (value) => (value >= 1000 ? `${value / 1000}k` : `${+value.toPrecision(2)}`);
