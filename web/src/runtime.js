// Chooses what computes the networks: WebGPU where there is a real one and its numbers are right, else WASM.
import { KNOWN_PX, agrees, knownPicture } from "./known.js";

const ORT = new URL("./ort/", import.meta.url).href;
const MODEL = new URL("./model/", import.meta.url);
const FILES = {
  webgpu: ["ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm"],
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"],
};

// Returns { name, why, threads, networks, files }: `networks` by letter, each with `apply(tile, height, width)` from
// (1, channels, height, width) to (1, 3, height, width); `why` is a word where it isn't WebGPU; `files` are those in use.
// `wanted` is "webgpu" (of software too), "wasm", "float32" (WASM with the networks that WebGPU takes) or nothing.
export async function openRuntime(wanted) {
  const { name, networks } = await (await fetch(new URL("model.json", MODEL))).json();
  let why = wanted?.startsWith("w") ? "asked" : await objection(wanted);
  if (wanted === "webgpu") why = undefined;
  if (!why) {
    try {
      const runtime = await open("webgpu", networks);
      if (await right(runtime.networks)) return { ...runtime, model: name };
      why = "wrong";
    } catch { why = "failed"; }
  }
  return { ...await open("wasm", networks, wanted === "float32"), model: name, why };
}

// What speaks against WebGPU here, in a word; nothing where it may be tried.
async function objection(wanted) {
  if (wanted) return "asked";
  if (!navigator.gpu || !("Suspending" in WebAssembly)) return "none";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "none";
  return adapter.info?.isFallbackAdapter || adapter.isFallbackAdapter ? "software" : undefined;
}

async function right(networks) {
  for (const { gpuChannels, known, apply } of Object.values(networks)) {
    if (!agrees(await apply(knownPicture(gpuChannels), KNOWN_PX, KNOWN_PX), known)) return false;
  }
  return true;
}

async function open(kind, entries, float32 = false) {
  const ort = await import(ORT + FILES[kind][0]);
  const threads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = ORT;
  ort.env.wasm.numThreads = kind === "wasm" ? threads : 1;
  const networks = {}, files = ["model/model.json", ...FILES[kind].map((name) => `ort/${name}`)];
  for (const [letter, entry] of Object.entries(entries)) { // one after another: WebGPU opens one session at a time
    const wide = kind === "webgpu" || float32, file = wide ? entry.gpu : entry.processor;
    const content = new Uint8Array(await (await fetch(new URL(file, MODEL))).arrayBuffer());
    // A pattern of a run's memory would be kept beside what the first run took: 395 instead of 274 MiB (research/2026-11.md).
    const session = await ort.InferenceSession.create(content, { executionProviders: [kind], enableMemPattern: false });
    const apply = async (tile, h, w) => (await session.run({ x: new ort.Tensor("float32", tile, [1, tile.length / (h * w), h, w]) })).out.data;
    networks[letter] = { ...entry, channels: wide ? entry.gpuChannels : entry.scales > 1 ? 6 : 3, apply };
    files.push(`model/${file}`);
  }
  return { name: kind, threads: ort.env.wasm.numThreads, networks, files };
}
