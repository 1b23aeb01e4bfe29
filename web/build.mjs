// Puts the page together in dist/: our modules as they are, onnxruntime-web's, and the model's ONNX files.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

const here = import.meta.dirname;
const dist = join(here, "dist");
const runtime = join(here, "node_modules", "onnxruntime-web", "dist");
const weights = join(here, "..", "src", "golfdeblur", "weights", "fast");

rmSync(dist, { recursive: true, force: true });
cpSync(join(here, "src"), dist, { recursive: true });
mkdirSync(join(dist, "ort"));
for (const name of [
  "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
  "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
]) cpSync(join(runtime, name), join(dist, "ort", name));
mkdirSync(join(dist, "model"));
for (const name of ["F.onnx", "G.onnx", "F.int8.onnx", "G.int8.onnx", "config.json"]) cpSync(join(weights, name), join(dist, "model", name));

// The service worker keeps these from the first visit on; of the two runtimes and their networks only what is used, once it is.
const files = readdirSync(dist, { recursive: true })
  .map((name) => join(dist, name))
  .filter((path) => statSync(path).isFile())
  .map((path) => relative(dist, path).replaceAll("\\", "/"))
  .sort();
const version = createHash("sha256");
for (const name of files) version.update(name).update(readFileSync(join(dist, name)));
const worker = readFileSync(join(dist, "sw.js"), "utf8")
  .replace("__VERSION__", version.digest("hex").slice(0, 12))
  .replace("__FILES__", JSON.stringify(files.filter((name) => !name.startsWith("ort/") && !name.endsWith(".onnx") && name !== "sw.js"), null, 1));
writeFileSync(join(dist, "sw.js"), worker);
writeFileSync(join(dist, "__init__.py"), '"""The built page."""\n'); // for the package golfdeblur-web
const size = files.reduce((sum, name) => sum + statSync(join(dist, name)).size, 0);
console.log(`dist/: ${files.length} files, ${(size / 1e6).toFixed(1)} MB`);
