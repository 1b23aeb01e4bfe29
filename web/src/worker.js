// Runs F once and G up to three times, away from the page: messages in are "load", "run" and "cancel".
import { openRuntime } from "./runtime.js";
import { pixelsRead, runInPlace, runTiled } from "./tiles.js";

const STEPS = 3;
const STOP_BELOW = 0.1 / 255; // a stroke that changes less is the last, as in the command
let runtime, running = 0;
let idle = Promise.resolve(); // when what came before is over: one thing is computed at a time

async function load(wanted) {
  runtime = await openRuntime(wanted);
  const parameters = Object.values(runtime.networks).reduce((sum, entry) => sum + entry.parameters, 0);
  const { name, why, threads, files, model } = runtime;
  self.postMessage({ kind: "ready", runtime: name, why, threads, files, model, parameters });
}

// Strokes are sent as they are made: { index, change, pixels }, RGBA with the alpha that came.
async function run({ id, pixels, width, height, grey }) {
  const count = width * height;
  const strokes = ["F", ...(runtime.networks.G ? Array(STEPS).fill("G") : [])];
  const plan = ({ multiple_px: multiple, overlap_px: overlap, scales, channels }) =>
    ({ multiple, overlap, scales, channels, tilePx: (navigator.deviceMemory ?? 8) <= 4 ? 700 * 700 : 1200 * 1200 });
  const work = (entry) => entry.macs_per_px * pixelsRead(width, height, plan(entry));
  const total = strokes.reduce((sum, letter) => sum + work(runtime.networks[letter]), 0);
  let done = 0, doing = 0;

  const edges = edgeStrength(pixels, width);
  let x = new Uint8Array(3 * count), sharper = 0;
  for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) x[c * count + i] = pixels[4 * i + c];
  for (const [index, letter] of strokes.entries()) {
    const entry = runtime.networks[letter];
    const step = async (tile) => {
      done += doing;
      doing = entry.macs_per_px * tile;
      self.postMessage({ kind: "progress", id, done: done / total, doing: doing / total });
      await new Promise((resolve) => setTimeout(resolve)); // lets a "cancel" in
      if (running !== id) throw new DOMException("cancelled", "AbortError");
    };
    let change;
    if (x instanceof Float32Array && entry.scales === 1) change = await runInPlace(entry.apply, x, width, height, { ...plan(entry), step });
    else {
      const next = await runTiled(entry.apply, x, width, height, { ...plan(entry), step });
      change = meanChange(next, x);
      x = next;
    }
    const shown = painted(x, pixels, grey);
    sharper = edgeStrength(shown, width) / edges - 1;
    self.postMessage({ kind: "stroke", id, index, letter, change: 255 * change, pixels: shown }, [shown.buffer]);
    if (index > 0 && change < STOP_BELOW) break;
  }
  self.postMessage({ kind: "done", id, sharper: edges ? sharper : 0 });
}

// The mean difference between green neighbours in a row: how sharp the picture looks.
function edgeStrength(pixels, width) {
  let sum = 0;
  for (let i = 5; i < pixels.length; i += 4) if (((i - 1) / 4) % width) sum += Math.abs(pixels[i] - pixels[i - 4]);
  return sum / pixels.length;
}

function meanChange(next, x) {
  const white = x instanceof Float32Array ? 1 : 255;
  let sum = 0;
  for (let i = 0; i < next.length; i++) sum += Math.abs(next[i] - x[i] / white);
  return sum / next.length;
}

// RGBA bytes of the planes x, with the alpha of `pixels`; grey takes the mean of the three, as the command does.
function painted(x, pixels, grey) {
  const shown = new Uint8ClampedArray(pixels), count = x.length / 3;
  const share = (i) => Math.min(1, Math.max(0, x[i]));
  for (let i = 0; i < count; i++) {
    if (grey) shown.fill(Math.fround(255 * Math.fround((share(i) + share(count + i) + share(2 * count + i)) / 3)), 4 * i, 4 * i + 3);
    else for (let c = 0; c < 3; c++) shown[4 * i + c] = Math.fround(255 * x[c * count + i]);
  }
  return shown;
}

async function runSafely(data) {
  try {
    await run(data);
  } catch (error) {
    if (error.name === "AbortError" || runtime.name !== "webgpu") throw error;
    await load("wasm"); // a graphics card may give up in the middle
    await run(data);
  }
}

self.addEventListener("message", ({ data }) => {
  if (data.kind === "cancel") { running = 0; return; }
  if (data.kind === "run") running = data.id; // which ends the photo before
  idle = idle.then(() => data.kind === "load" ? load(data.wanted) : runSafely(data)).catch((error) => {
    if (error.name === "AbortError") self.postMessage({ kind: "cancelled", id: data.id });
    else self.postMessage({ kind: "failed", id: data.id, during: data.kind, reason: String(error.message ?? error) });
  });
});
