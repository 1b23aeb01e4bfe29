// Puts the page together in dist/: our modules as they are, onnxruntime-web's, and the model's ONNX files.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import * as ort from "onnxruntime-web";
import { padChannels } from "./pad.mjs";
import { KNOWN_PX, agrees, knownPicture, sample } from "./src/known.js";

const here = import.meta.dirname;
const dist = join(here, "dist");
const weights = join(here, "..", "src", "golfdeblur", "weights", "fast");
const packages = join(here, "node_modules");
const GPU_CHANNELS = { 3: 3, 6: 8 }; // by what a network takes; see pad.mjs

async function computed(file, channels) {
  const session = await ort.InferenceSession.create(new Uint8Array(file));
  const { out } = await session.run({ x: new ort.Tensor("float32", knownPicture(channels), [1, channels, KNOWN_PX, KNOWN_PX]) });
  return out.data;
}

// Writes the networks and what running them needs of config.json: the file for a processor, another for WebGPU.
async function writeModel(folder) {
  const { name, date, networks } = JSON.parse(readFileSync(join(weights, "config.json"), "utf8"));
  const model = { name, date, networks: {} };
  for (const [letter, entry] of Object.entries(networks)) {
    if ("KJ".includes(letter) || entry.spec?.level) continue; // of strokes that deconvolve, which the page does not make yet
    const { file, parameters, multiple_px, overlap_px, scales = 1, macs_per_px = parameters } = entry;
    const processor = entry.int8?.file ?? file, gpu = `${letter}.gpu.onnx`; // 8 bits are faster on a processor only
    const channels = scales > 1 ? 6 : 3, gpuChannels = GPU_CHANNELS[channels];
    const original = readFileSync(join(weights, file));
    const padded = channels === gpuChannels ? original : padChannels(original, channels, gpuChannels);
    const known = sample(await computed(original, channels));
    if (!agrees(await computed(padded, gpuChannels), known)) throw new Error(`${gpu} computes something else than ${file}.`);
    writeFileSync(join(folder, gpu), padded);
    cpSync(join(weights, processor), join(folder, processor));
    model.networks[letter] = { processor, gpu, gpuChannels, known, parameters, multiple_px, overlap_px, scales, macs_per_px };
  }
  writeFileSync(join(folder, "model.json"), JSON.stringify(model));
}

// Whose work the page contains, with the licences in full: LGPL asks that libheif can be replaced, and so it can, as a file.
function licences() {
  const part = (title, ...path) => `${title}\n${"=".repeat(title.length)}\n\n${readFileSync(join(...path), "utf8").trim()}\n`;
  return [
    part("golfdeblur (Apache-2.0)", here, "..", "LICENSE"),
    part("ONNX Runtime Web (MIT), github.com/microsoft/onnxruntime: ort/", here, "licences", "onnxruntime-web.txt"),
    part("libheif-js (LGPL-3.0), github.com/catdad-experiments/libheif-js, with libheif and libde265 of struktur AG: heic/", packages, "libheif-js", "LICENSE"),
    part("libheif", packages, "libheif-js", "libheif-wasm", "LICENSE"),
    "The example photo is from REDS (Nah et al., CC BY 4.0).\n",
  ].join("\n\n");
}

rmSync(dist, { recursive: true, force: true });
cpSync(join(here, "src"), dist, { recursive: true });
for (const folder of ["ort", "model", "heic"]) mkdirSync(join(dist, folder));
for (const name of [
  "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
  "ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm",
]) cpSync(join(packages, "onnxruntime-web", "dist", name), join(dist, "ort", name));
await writeModel(join(dist, "model"));
cpSync(join(packages, "libheif-js", "libheif-wasm", "libheif-bundle.mjs"), join(dist, "heic", "libheif-bundle.mjs")); // loaded for a HEIC only
cpSync(join(here, "..", "examples", "walkway.jpg"), join(dist, "sample", "walkway.jpg"));
writeFileSync(join(dist, "licences.txt"), licences());
const { version, homepage = "" } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const main = readFileSync(join(dist, "main.js"), "utf8").replace("__VERSION__", version).replace("__SOURCE__", homepage);
writeFileSync(join(dist, "main.js"), main);

// The service worker knows every file by its content; of what is not used at every visit it keeps only what was.
const files = readdirSync(dist, { recursive: true })
  .map((name) => relative(dist, join(dist, name)).replaceAll("\\", "/"))
  .filter((name) => statSync(join(dist, name)).isFile() && name !== "sw.js")
  .sort();
const hashes = Object.fromEntries(files.map((name) => [name, createHash("sha256").update(readFileSync(join(dist, name))).digest("hex")]));
const worker = readFileSync(join(dist, "sw.js"), "utf8").replace("__FILES__", JSON.stringify(hashes, null, 1));
writeFileSync(join(dist, "sw.js"), worker);
writeFileSync(join(dist, "__init__.py"), '"""The built page."""\n'); // for the package golfdeblur-web
const size = files.reduce((sum, name) => sum + statSync(join(dist, name)).size, 0);
console.log(`dist/: ${files.length} files, ${(size / 1e6).toFixed(1)} MB`);
