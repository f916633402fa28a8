// The page: tiles, charts and the list of what was seen, all fed by /events.
import { Chart, colour } from './charts.js';
import { Editor } from './editor.js';
import { Player, canPlay } from './player.js';

const MOST_LINES = 60;
const find = (id) => document.getElementById(id);
const tiles = new Map();  // stream -> its tile
const charts = Object.fromEntries(['fps', 'ms', 'queue', 'drop'].map((id) => [id, new Chart(find(`chart-${id}`))]));
let before = null;        // the figures of a second ago

class Tile {
  constructor(name) {
    this.name = name;
    this.path = name.split('/').map(encodeURIComponent).join('/');
    this.root = find('tile').content.firstElementChild.cloneNode(true);
    this.root.dataset.stream = name;
    this.video = this.part('video');
    this.image = this.part('img');
    this.image.alt = name;
    this.part('b').textContent = name;
    const snapshot = this.part('[data-do=snapshot]');
    snapshot.href = `/snapshot/${this.path}.jpg`;
    snapshot.download = `${name}.jpg`;
    this.part('[data-do=mjpeg]').onclick = () => this.show(!this.player);
    this.part('[data-do=remove]').onclick = () => this.remove();
    this.part('[data-do=pause]').onclick = () => send('POST', `/streams/${this.path}/${this.state === 'paused' ? 'resume' : 'pause'}`);
    this.editor = new Editor(this.root, name, send);
    find('tiles').append(this.root);
    this.show(canPlay());
  }

  part(selector) { return this.root.querySelector(selector); }

  show(asVideo) {
    this.hide();
    this.video.hidden = !asVideo;
    this.image.hidden = asVideo;
    this.part('[data-do=mjpeg]').setAttribute('aria-pressed', String(!asVideo));
    if (asVideo) this.player = new Player(this.video, `${location.origin}/video/${this.path}`, (words) => this.veil(words));
    else this.image.src = `/mjpeg/${this.path}`;
  }

  hide() {
    this.player?.close();
    this.player = null;
    this.image.removeAttribute('src');
    this.veil('');
  }

  veil(words) {
    this.trouble = words;
    const veil = this.part('.veil');
    const said = words || (this.state && this.state !== 'playing' ? this.state : '');
    veil.textContent = said;
    veil.hidden = !said;
  }

  update(stream) {
    this.state = stream.state;
    this.editor.size = stream.size;
    const link = this.part('[data-do=hls]');
    link.hidden = !stream.hls;
    if (stream.hls) link.href = stream.hls;
    this.part('.dot').className = `dot ${stream.state}`;
    this.part('.dot').title = stream.state;
    const delays = this.player?.delays.toSorted((one, other) => one - other) ?? [];
    const seen = delays.length > 20 ? delays[delays.length >> 1] : -1;
    const lost = sum(stream.dropped) + sum(stream.failed);
    this.part('.figures').textContent = [
      `${stream.fps.toFixed(1)} fps`,
      `${stream.latency_ms.toFixed(0)} ms to result`,
      seen >= 0 && seen < 10000 ? `${seen.toFixed(0)} ms to screen` : '',
      lost ? `${lost} lost` : '',
    ].filter(Boolean).join(' · ');
    this.part('[data-do=pause]').textContent = stream.state === 'paused' ? 'Resume' : 'Pause';
    const reason = this.part('.reason');
    reason.textContent = stream.reason;
    reason.hidden = !stream.reason;
    this.veil(this.trouble);
  }

  remove() {
    if (confirm(`Remove ${this.name}?`)) send('DELETE', `/streams/${this.path}`);
  }

  close() {
    this.hide();
    this.root.remove();
  }
}

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

// Returns what is answered, {} where that is nothing, and null where it was refused; the message says why.
async function send(method, path, body) {
  say('');
  const headers = body ? { 'Content-Type': 'application/json' } : {};
  try {
    const reply = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    if (reply.ok) return reply.status === 204 ? {} : await reply.json();
    say((await reply.json().catch(() => ({ error: reply.statusText }))).error);
  } catch (error) {
    say(String(error.message));
  }
  return null;
}

function say(words) {
  find('message').textContent = words;
  find('message').hidden = !words;
}

function update(figures) {
  const { engine, latency_ms: latency, streams } = figures;
  find('engine').textContent = `${engine.model} · ${engine.backend} ${engine.precision} · ${engine.device} · batch ${engine.batch}`;
  find('rates').textContent = `${figures.fps.toFixed(1)} fps · latency median ${latency.median.toFixed(0)} ms, p95 ${latency.p95.toFixed(0)} ms`;
  for (const stream of streams) {
    if (!tiles.has(stream.name)) tiles.set(stream.name, new Tile(stream.name));
    tiles.get(stream.name).update(stream);
  }
  for (const [name, tile] of tiles) {
    if (streams.some((stream) => stream.name === name)) continue;
    tile.close();
    tiles.delete(name);
  }
  tiles.forEach((tile) => { tile.part('[data-do=remove]').disabled = tiles.size < 2; });
  plot(figures);
  before = figures;
}

function plot(figures) {
  const past = new Map((before?.stages ?? []).map((stage) => [stage.name, stage]));
  const seconds = before ? figures.seconds - before.seconds : 0;
  const rate = (stage, key) => {
    const then = past.get(stage.name);
    return then && seconds > 0 ? Math.max(stage[key] - then[key], 0) / seconds : 0;
  };
  const pick = (value) => new Map(figures.stages.map((stage) => [stage.name, value(stage)]));
  const fps = pick((stage) => rate(stage, 'out'));
  charts.fps.add(fps);
  charts.ms.add(pick((stage) => stage.median_ms));
  charts.queue.add(pick((stage) => stage.queued));
  charts.drop.add(pick((stage) => rate(stage, 'dropped')));
  find('stages').replaceChildren(...figures.stages.map((stage, index) => {
    const row = document.createElement('tr');
    const swatch = document.createElement('span');
    swatch.className = 'swatch';
    swatch.style.background = colour(index);
    const cells = [stage.name, fps.get(stage.name).toFixed(1), stage.median_ms.toFixed(2), stage.p95_ms.toFixed(2), stage.queued, stage.dropped, stage.failed];
    row.append(...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text })));
    row.firstChild.prepend(swatch);
    return row;
  }));
}

const shown = new Map();  // stream -> what was last listed of it
function list(kind, stream, words) {
  const line = document.createElement('li');
  const time = Object.assign(document.createElement('time'), { textContent: new Date().toTimeString().slice(0, 8) });
  line.append(time, Object.assign(document.createElement('b'), { textContent: stream }), words);
  line.className = kind;
  const all = find('events');
  all.prepend(line);
  while (all.children.length > MOST_LINES) all.lastChild.remove();
}

function seen(record) {
  const counts = {};
  for (const found of record.detections) counts[found.class] = (counts[found.class] ?? 0) + 1;
  const words = Object.entries(counts).sort().map(([name, count]) => `${count} ${name}`).join(', ') || 'nothing';
  if (shown.get(record.stream) === words) return;
  shown.set(record.stream, words);
  list('detections', record.stream, words);
}

function listen() {
  const source = new EventSource('/events');
  let cut = false;  // the message that stands there is ours
  source.addEventListener('status', (event) => {
    if (cut) say('');
    cut = false;
    update(JSON.parse(event.data));
  });
  source.addEventListener('detections', (event) => seen(JSON.parse(event.data)));
  source.addEventListener('event', (event) => {
    const told = JSON.parse(event.data);
    const who = told.id === undefined ? '' : `#${told.id} ${told.class}`;
    const figures = ['value', 'count'].filter((key) => key in told).map((key) => `${key} ${told[key]}`);
    list('event', told.stream, [told.event, told.name, told.what, who, ...figures].filter(Boolean).join(' · '));
  });
  source.onerror = () => {
    say('No connection to the pipeline, trying again');
    cut = true;
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, 2000);
  };
}

const THEMES = ['auto', 'light', 'dark'];
function dress(theme) {
  document.documentElement.dataset.theme = theme;
  find('theme').textContent = `Theme: ${theme}`;
  localStorage.setItem('theme', theme);
  Object.values(charts).forEach((chart) => chart.draw());
}

find('theme').onclick = () => dress(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
find('add').onsubmit = async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector('button');
  const { url, name } = Object.fromEntries(new FormData(form));
  button.disabled = true;
  if (await send('POST', '/streams', name ? { url, name } : { url })) form.reset();
  button.disabled = false;
};
window.addEventListener('resize', () => Object.values(charts).forEach((chart) => chart.draw()));
window.streamerTiles = tiles;  // for tests and the console
dress(localStorage.getItem('theme') ?? 'auto');
listen();
