// The page: takes a photo, shows each stroke as it appears, compares, saves.
import { readMetadata, withMetadata } from "./metadata.js";

const MOST_PIXELS = 50_000_000;
const JPEG_QUALITY = 0.95;

const $ = (id) => document.getElementById(id);
const worker = new Worker("./worker.js", { type: "module" });
let photo; // { name, type, metadata, width, height, pixels, strokes: [ImageData], shown }
let job = 0, ready = false;

navigator.serviceWorker?.register("./sw.js").then(async () => {
  await navigator.serviceWorker.ready;
  // WASM gets its threads only in a page that was loaded with the worker's headers: once more, before any photo.
  if (!crossOriginIsolated && !sessionStorage.reloaded && !photo) {
    sessionStorage.reloaded = "yes";
    location.reload();
  }
}).catch(() => {}); // without it the page works as well, only not offline

worker.postMessage({ kind: "load" });
worker.addEventListener("message", ({ data }) => {
  if (data.kind === "ready") {
    ready = true;
    $("about").textContent = `Model ${data.name}: ${data.parameters.toLocaleString("en")} parameters, computed by ${data.engine} on this machine.`;
    if (photo) start(); else say("Ready.");
  } else if (data.kind === "failed" && data.during === "load") {
    fail(`The model could not be loaded (${data.reason}); reload the page, or use a newer browser.`);
  } else if (data.id !== job) {
    return; // of a photo that is no longer shown
  } else if (data.kind === "progress") {
    $("bar").value = data.share;
  } else if (data.kind === "stroke") {
    addStroke(data);
  } else if (data.kind === "done") {
    finish(`Done: ${photo.strokes.length} strokes. ${photo.changes[0] < 0.3 ? "Hardly anything changed: the photo is sharp already, or its blur is not motion blur." : ""}`);
  } else if (data.kind === "cancelled") {
    finish("Cancelled.");
  } else if (data.kind === "failed") {
    finish("");
    fail(/memory|alloc/i.test(data.reason) ? "The photo does not fit into this browser's memory; reduce it, or use the command golf deblur." : `Deblurring failed (${data.reason}).`);
  }
});

const say = (words) => { $("status").textContent = words; };
const fail = (words) => { $("error").textContent = words; $("error").hidden = !words; if (words) say(""); };

async function take(file) {
  fail("");
  if (!file) return;
  let opened;
  try {
    opened = await open(file);
  } catch (error) {
    fail(error.message);
    return;
  }
  cancel();
  photo = opened;
  $("start").hidden = true;
  $("work").hidden = false;
  for (const id of ["before", "after"]) Object.assign($(id), { width: photo.width, height: photo.height });
  $("before").getContext("2d").putImageData(photo.pixels, 0, 0);
  $("strokes").querySelectorAll("label").forEach((label) => label.remove());
  show(photo.pixels, "input");
  $("download").disabled = true;
  $("viewer").focus();
  if (ready) start(); else say("Loading the model …");
}

async function open(file) {
  const bytes = new Uint8Array(await file.arrayBuffer().catch(() => { throw new Error(`${file.name} cannot be read; choose it again.`); }));
  if (!bytes.length) throw new Error(`${file.name} is empty (0 bytes); copy it again from where it came.`);
  let bitmap;
  try {
    // The file's own values: the profile is put back into what is saved.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    const box = String.fromCharCode(...bytes.subarray(4, 12));
    if (/^ftyp(hei|mif|msf)/.test(box)) throw new Error(`${file.name} is HEIC, which this browser cannot read; save it as JPEG, or use the command golf deblur.`);
    throw new Error(`${file.name} is not a photo that this browser can read, or it is damaged; use a JPEG, PNG or WebP.`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`${file.name} has ${Math.round(width * height / 1e6)} megapixels; this page takes up to ${MOST_PIXELS / 1e6}. Use the command golf deblur.`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height);
  return { name: file.name || "photo.png", type: file.type, metadata: await readMetadata(bytes).catch(() => ({})), width, height, pixels, strokes: [], changes: [] };
}

function start() {
  job += 1;
  say("Deblurring …");
  $("progress").hidden = false;
  $("bar").value = 0;
  $("cancel").disabled = false;
  worker.postMessage({ kind: "run", id: job, pixels: photo.pixels.data, width: photo.width, height: photo.height });
}

function cancel() {
  worker.postMessage({ kind: "cancel", id: job });
}

function finish(words) {
  $("progress").hidden = true;
  $("cancel").disabled = true;
  say(words);
}

function addStroke({ index, change, pixels }) {
  const data = new ImageData(pixels, photo.width, photo.height);
  photo.strokes.push(data);
  photo.changes.push(change);
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "stroke", value: index, checked: true });
  radio.addEventListener("change", () => show(photo.strokes[index], `x${index}`));
  label.append(radio, ` x${index}`);
  $("strokes").append(label);
  show(data, `x${index}`);
  $("download").disabled = false;
  say(`Stroke x${index} is there (mean change ${change.toFixed(2)} of 255).`);
}

function show(pixels, name) {
  photo.shown = pixels;
  $("after").getContext("2d").putImageData(pixels, 0, 0);
  $("after-tag").textContent = name;
}

function split(percent) {
  $("stage").style.setProperty("--split", `${percent}%`);
  $("slider").setAttribute("aria-valuetext", `${Math.round(percent)} % before, ${Math.round(100 - percent)} % after`);
}

async function save() {
  const jpeg = photo.type === "image/jpeg" || photo.type === "image/heic";
  const canvas = new OffscreenCanvas(photo.width, photo.height);
  canvas.getContext("2d").putImageData(photo.shown, 0, 0);
  const blob = await canvas.convertToBlob(jpeg ? { type: "image/jpeg", quality: JPEG_QUALITY } : { type: "image/png" });
  const bytes = await withMetadata(new Uint8Array(await blob.arrayBuffer()), photo.metadata);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: blob.type }));
  link.download = photo.name.replace(/\.[^.]*$/, "") + (jpeg ? "-deblurred.jpg" : "-deblurred.png");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`Saved as ${link.download}.`);
}

for (const id of ["file", "camera"]) $(id).addEventListener("change", ({ target }) => { take(target.files[0]); target.value = ""; });
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
for (const kind of ["dragleave", "drop"]) addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.remove("dragging"); });
addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
addEventListener("paste", (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));

$("slider").addEventListener("input", ({ target }) => split(target.value));
for (const kind of ["pointerdown", "pointermove"]) {
  $("stage").addEventListener(kind, (event) => {
    if (!event.buttons) return;
    const box = $("stage").getBoundingClientRect();
    $("slider").value = Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width));
    split($("slider").value);
  });
}
$("zoom").addEventListener("change", ({ target }) => $("viewer").classList.toggle("full", target.checked));
$("cancel").addEventListener("click", cancel);
$("download").addEventListener("click", () => save().catch((error) => fail(`The result could not be saved (${error.message}).`)));
$("again").addEventListener("click", () => {
  cancel();
  job += 1;
  photo = undefined;
  $("work").hidden = true;
  $("start").hidden = false;
  finish("Ready.");
  $("file").focus();
});
