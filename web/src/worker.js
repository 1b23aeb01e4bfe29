// Runs F once and G up to three times, away from the page: messages in are "load", "run" and "cancel".
import { runTiled } from "./tiles.js";

const STEPS = 3;
const STOP_BELOW = 0.1 / 255; // a stroke that changes less is the last, as in the command
let networks, entries, engine, running = 0;
let idle = Promise.resolve(); // when what came before is over: WebGPU computes one thing at a time, or fails

async function load() {
  const gpu = await navigator.gpu?.requestAdapter().catch(() => null);
  const ort = await import(gpu ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./ort/", self.location.href).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  const config = await (await fetch("./model/config.json")).json();
  entries = config.networks;
  const open = async (providers) => Object.fromEntries(await Promise.all(Object.entries(entries).map(async ([letter, entry]) => {
    const { file } = providers.includes("wasm") ? entry.int8 ?? entry : entry; // 8 bits are faster on a processor only
    const content = new Uint8Array(await (await fetch(`./model/${file}`)).arrayBuffer());
    // A pattern of a run's memory would be kept beside what the first run took: 395 instead of 274 MiB (docs/log.md).
    const session = await ort.InferenceSession.create(content, { executionProviders: providers, enableMemPattern: false });
    return [letter, async (tile, h, w) => (await session.run({ x: new ort.Tensor("float32", tile, [1, tile.length / (h * w), h, w]) })).out.data];
  })));
  engine = "WASM";
  if (gpu) {
    try {
      networks = await open(["webgpu"]);
      await networks.F(new Float32Array((entries.F.scales > 1 ? 6 : 3) * 64 * 64), 64, 64); // some drivers fail only when they compute
      engine = "WebGPU";
    } catch { networks = undefined; }
  }
  networks ??= await open(["wasm"]);
  const threads = engine === "WASM" ? `, ${ort.env.wasm.numThreads} thread${ort.env.wasm.numThreads > 1 ? "s" : ""}` : "";
  const parameters = Object.values(entries).reduce((sum, entry) => sum + entry.parameters, 0);
  self.postMessage({ kind: "ready", engine: engine + threads, parameters, name: config.name });
}

async function run({ id, pixels, width, height }) {
  const goOn = () => { if (running !== id) throw new DOMException("cancelled", "AbortError"); };
  goOn();
  const count = width * height;
  let x = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) x[c * count + i] = pixels[4 * i + c] / 255;
  const letters = ["F", ...(networks.G ? Array(STEPS).fill("G") : [])];
  for (const [index, letter] of letters.entries()) {
    const entry = entries[letter];
    const next = await runTiled(networks[letter], x, width, height, {
      multiple: entry.multiple_px,
      overlap: entry.overlap_px,
      scales: entry.scales,
      tilePx: (navigator.deviceMemory ?? 8) <= 4 ? 700 * 700 : 1200 * 1200,
      step: async (share) => {
        self.postMessage({ kind: "progress", id, share: (index + share) / letters.length });
        await new Promise((resolve) => setTimeout(resolve)); // lets a "cancel" in
        goOn();
      },
    });
    let change = 0;
    for (let i = 0; i < next.length; i++) change += Math.abs(next[i] - x[i]);
    change /= next.length;
    x = next;
    const shown = new Uint8ClampedArray(pixels); // alpha stays
    for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) shown[4 * i + c] = Math.fround(255 * x[c * count + i]);
    self.postMessage({ kind: "stroke", id, index, change: 255 * change, pixels: shown }, [shown.buffer]);
    if (index > 0 && change < STOP_BELOW) break;
  }
  self.postMessage({ kind: "done", id });
}

self.addEventListener("message", ({ data }) => {
  if (data.kind === "cancel") { running = 0; return; }
  if (data.kind === "run") running = data.id; // which ends the photo before
  idle = idle.then(() => data.kind === "load" ? load() : run(data)).catch((error) => {
    if (error.name === "AbortError") self.postMessage({ kind: "cancelled", id: data.id });
    else self.postMessage({ kind: "failed", id: data.id, during: data.kind, reason: String(error.message ?? error) });
  });
});
