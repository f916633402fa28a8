// Player: one stream in one <video>, by fragments of MP4 that come through a WebSocket.
const BEHIND = 0.08;  // seconds behind the newest picture, besides a picture and a half, where it aims to play
const SPARE = 0.06;   // seconds behind that from which it plays faster, and for each time that it ran dry more
const MOST = 0.5;     // seconds behind at most
const CALM = 20000;   // milliseconds without running dry after which it comes nearer again
const LOST = 1.0;     // seconds behind from which it jumps
const KEPT = 10;      // seconds of the past that stay in memory
const RETRY = 1000;   // milliseconds, doubled up to 10 s
const ENDED = 4000;   // milliseconds at least where it was ended, not lost: the figures tell if the stream is gone

export const canPlay = () => 'MediaSource' in window || 'ManagedMediaSource' in window;

export class Player {
  constructor(video, url, tell) {
    this.video = video;
    this.url = url;
    this.tell = tell;         // (words) => void; '' while it plays
    this.delays = [];         // milliseconds from capture to screen, where clocks agree
    this.captures = [];       // [media time, Unix time of capture], the last ones
    this.pause = RETRY;
    this.over = false;
    this.spare = 0;           // seconds more behind, since pictures come unevenly
    this.dry = 0;             // when it last had nothing to play, performance.now()
    video.addEventListener('waiting', () => this.runDry());
    this.watch();
    this.open();
  }

  open() {
    this.queue = [];
    this.buffer = null;
    this.socket = new WebSocket(this.url.replace(/^http/, 'ws'));
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = (event) => this.take(event.data);
    this.socket.onclose = ({ wasClean }) => {
      if (this.over) return;
      this.tell('No connection, trying again');
      if (wasClean) this.pause = Math.max(this.pause, ENDED);
      this.timer = setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(this.pause * 2, 10000);
    };
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
    const { socket } = this;
    socket.onmessage = null;
    // Closed while it still connects, it would leave an error in the console.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
    this.forget();
  }

  take(message) {
    const view = new DataView(message);
    const time = view.getFloat64(0, true);
    const captured = view.getFloat64(8, true);
    const bytes = new Uint8Array(message, 16);
    if (time < 0) {
      this.begin(bytes);
      return;
    }
    this.captures.push([time, captured]);
    if (this.captures.length > 300) this.captures.shift();
    this.queue.push(bytes);
    if (this.queue.length > 300) this.queue.splice(0, 150);
    this.feed();
  }

  begin(head) {
    const codec = codecOf(head);
    if (this.buffer && this.codec === codec) {
      this.queue.push(head);
      return;
    }
    this.forget();
    this.codec = codec;
    this.captures = [];
    this.queue = [head];
    const Source = window.ManagedMediaSource || window.MediaSource;
    const media = new Source();
    this.media = media;
    this.video.disableRemotePlayback = true;
    this.address = URL.createObjectURL(media);
    this.video.src = this.address;
    media.addEventListener('sourceopen', () => {
      if (this.media !== media) return;
      this.buffer = media.addSourceBuffer(`video/mp4; codecs="${codec}"`);
      this.buffer.addEventListener('updateend', () => this.feed());
      this.feed();
    }, { once: true });
    this.pause = RETRY;
  }

  forget() {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = this.media = this.buffer = null;
    this.video.removeAttribute('src');
    this.video.load();
  }

  feed() {
    const { buffer, video, media } = this;
    if (!buffer || buffer.updating || media.readyState !== 'open' || video.error) return;
    if (this.queue.length) {
      const all = this.queue.splice(0);
      const whole = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
      all.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
      try {
        buffer.appendBuffer(whole);
      } catch (error) {
        if (error.name !== 'QuotaExceededError') throw error;
        buffer.remove(0, Math.max(video.currentTime - 1, 0.1));
      }
      return;
    }
    this.keepUp();
  }

  runDry() {
    if (this.over || !this.buffer || this.video.seeking || this.captures.length < 30) return;
    this.spare = Math.min(this.spare + SPARE, MOST);
    this.dry = performance.now();
  }

  // Seconds behind the newest picture at which it is safe to play: pictures come one by one.
  aim() {
    const known = this.captures;
    const span = known.length > 1 ? known.at(-1)[0] - known[0][0] : 0;
    const step = span > 0 ? span / (known.length - 1) : 0.04;
    if (this.spare && performance.now() - this.dry > CALM) {
      this.spare = Math.max(this.spare - SPARE, 0);
      this.dry = performance.now();
    }
    return Math.min(BEHIND + 1.5 * step + this.spare, MOST);
  }

  keepUp() {
    const { buffer, video } = this;
    const ranges = buffer.buffered;
    if (!ranges.length) return;
    const last = ranges.length - 1;
    const end = ranges.end(last);
    const behind = end - video.currentTime;
    if (behind > LOST || video.currentTime < ranges.start(last)) {
      video.currentTime = Math.max(end - 0.1, ranges.start(last));
    }
    const aim = this.aim();
    if (behind > aim + SPARE) video.playbackRate = 1.1;
    else if (behind < aim) video.playbackRate = 1;
    if (video.paused && !document.hidden) video.play().catch(() => {});
    if (ranges.start(0) < end - 2 * KEPT) buffer.remove(0, end - KEPT);
  }

  watch() {
    if (!this.video.requestVideoFrameCallback) return;
    const look = (now, { mediaTime }) => {
      if (this.over) return;
      this.tell('');
      const found = this.captures.findLast(([time]) => time <= mediaTime + 0.002);
      if (found && mediaTime - found[0] < 0.1) {
        this.delays.push(Date.now() - found[1] * 1000);
        if (this.delays.length > 300) this.delays.shift();
      }
      this.video.requestVideoFrameCallback(look);
    };
    this.video.requestVideoFrameCallback(look);
  }
}

// The codec as RFC 6381 names it, from the avcC box: profile, constraints, level.
function codecOf(head) {
  for (let at = 0; at + 8 < head.length; at++) {
    if (head[at] === 97 && head[at + 1] === 118 && head[at + 2] === 99 && head[at + 3] === 67) {
      const hex = [...head.slice(at + 5, at + 8)].map((byte) => byte.toString(16).padStart(2, '0'));
      return `avc1.${hex.join('')}`;
    }
  }
  return 'avc1.42c01e';
}
