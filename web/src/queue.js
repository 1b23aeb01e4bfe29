// The photos and their turn: each is opened, deblurred and kept as it is made, one after another.

const DEEP_MEMORY_PX = 24e6; // of a larger photo only the last stroke is kept
const BYTES_PER_PX = 40; // what deblurring takes at its height

// The pixels that fit into memory here, told by what the browser says of it.
export function mostPixels() {
  const gigabytes = navigator.deviceMemory ?? (navigator.maxTouchPoints > 0 ? 2 : 8);
  return Math.min(50e6, 0.5 * gigabytes * 1e9 / BYTES_PER_PX);
}

const filesWorker = new Worker("./files.js", { type: "module" });
const calls = new Map();
filesWorker.addEventListener("message", ({ data: { id, result, key, values } }) => {
  const { found, failed } = calls.get(id);
  calls.delete(id);
  if (key) failed({ key, values }); else found(result);
});

// What the files worker's `call` answers; rejects with { key, values }.
export const ask = (call, data) => new Promise((found, failed) => {
  const id = crypto.randomUUID();
  calls.set(id, { found, failed });
  filesWorker.postMessage({ id, call, ...data });
});

// A photo is { id, file, name, state, error, width, height, keep, was, strokes, chosen, progress, ... }; its state is
// "waiting", "opening", "working", "done", "cancelled" or "failed". `onOpened(photo, pixels)` may show it before the pixels go.
export class Queue {
  photos = [];
  ready = false;

  constructor({ wanted, onReady, onOpened, onChange, onStroke }) {
    Object.assign(this, { onReady, onOpened, onChange, onStroke });
    this.worker = new Worker("./worker.js", { type: "module" });
    this.worker.addEventListener("message", ({ data }) => this.#hear(data));
    this.worker.postMessage({ kind: "load", wanted });
  }

  add(files) {
    const added = files.map((file) => ({ id: crypto.randomUUID(), file, name: file.name || "photo.png", state: "waiting", strokes: [], saved: false }));
    this.photos.push(...added);
    this.#next();
    for (const photo of added) this.#picture(photo);
    return added;
  }

  again(photo, { reduce = photo.reduce } = {}) {
    Object.assign(photo, { state: "waiting", error: undefined, strokes: [], saved: false, reduce, before: undefined });
    this.onChange(photo);
    this.#next();
  }

  cancel(photo) {
    if (photo.state === "working") this.worker.postMessage({ kind: "cancel", id: photo.job });
    if (["waiting", "opening", "working"].includes(photo.state)) this.#become(photo, "cancelled");
    this.#next();
  }

  clear() {
    for (const photo of this.photos) { this.cancel(photo); photo.thumbnail?.close(); }
    this.photos = [];
  }

  get busy() { return this.photos.find(({ state }) => state === "opening" || state === "working"); }

  open(photo) { return ask("open", { file: photo.file, most: mostPixels(), reduce: photo.reduce }); }

  async #picture(photo) {
    photo.thumbnail = await ask("thumbnail", { file: photo.file }).catch(() => undefined);
    this.onChange(photo);
  }

  #become(photo, state, values = {}) {
    Object.assign(photo, { state, ...values });
    this.onChange(photo);
  }

  async #next() {
    const photo = this.photos.find(({ state }) => state === "waiting");
    if (!photo || this.busy) return;
    this.#become(photo, "opening");
    try {
      const { pixels, ...about } = await this.open(photo);
      if (photo.state !== "opening") return;
      Object.assign(photo, about);
      await this.onOpened(photo, pixels);
      while (!this.ready) await this.#untilReady();
      if (photo.state !== "opening") return;
      photo.job = crypto.randomUUID();
      this.#become(photo, "working", { since: performance.now(), progress: { done: 0, doing: 0, at: performance.now() } });
      const { width, height, keep } = photo;
      this.worker.postMessage({ kind: "run", id: photo.job, pixels, width, height, grey: keep.grey }, [pixels.buffer]);
    } catch (error) {
      if (photo.state === "opening") this.#become(photo, "failed", { error: error.key ? error : { key: "failed", values: { reason: error.message } } });
      this.#next();
    }
  }

  #untilReady() { return new Promise((found) => { this.whenReady = found; }); }

  #hear(data) {
    if (data.kind === "ready" || data.during === "load") {
      this.ready = data.kind === "ready";
      this.onReady(data);
      if (this.ready) this.whenReady?.();
      return;
    }
    const photo = this.photos.find(({ job, state }) => job === data.id && state === "working");
    if (!photo) return; // of a photo that was cancelled
    if (data.kind === "progress") {
      photo.progress = { done: data.done, doing: data.doing, at: performance.now() };
    } else if (data.kind === "stroke") {
      const { letter, index, change, pixels } = data;
      photo.strokes.push({ letter, index, change, pixels: new Blob([pixels]) }); // a Blob: the browser may put it on the disk
      photo.chosen = index;
      this.onStroke(photo, pixels);
    } else if (data.kind === "done") {
      if (photo.width * photo.height > DEEP_MEMORY_PX) for (const stroke of photo.strokes.slice(0, -1)) delete stroke.pixels;
      this.#become(photo, "done", { sharper: data.sharper, seconds: (performance.now() - photo.since) / 1000 });
    } else if (data.kind === "failed") {
      const memory = /memory|alloc/i.test(data.reason);
      this.#become(photo, "failed", { error: { key: memory ? "memory" : "failed", values: { reason: data.reason } } });
    }
    if (photo.state !== "working") this.#next();
  }
}

// How far a photo is now, 0 to 1, and how many seconds are left, once that can be told. What a tile takes is told by
// those before it, so the bar moves on meanwhile.
export function progressOf({ progress: { done, doing, at }, since }) {
  const now = performance.now(), before = at - since;
  const speed = done > 0 && before > 500 ? done / before : 0;
  const share = Math.min(done + Math.min(0.95 * doing, speed * (now - at)), 0.99);
  return { share, seconds: speed && share > 0.02 ? (1 - share) / speed / 1000 : undefined };
}
