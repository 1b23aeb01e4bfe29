// The page: takes photos, shows each as it gets sharper, compares, saves.
import { number, say, speak } from "./language.js";
import { keepOffline, readyForPhotos } from "./offline.js";
import { fillPanel, notes } from "./panel.js";
import { Queue, mostPixels, progressOf } from "./queue.js";
import { FORMATS, canCopy, canShare, copy, ownFormat, save, saveAll, share } from "./saving.js";
import { Viewer } from "./viewer.js";

const VERSION = "__VERSION__", SOURCE = "__SOURCE__"; // by build.mjs
const HARDLY = 0.3; // a first stroke that changes less, of 255, found nothing to do

const $ = (id) => document.getElementById(id);
const TOUCH = matchMedia("(hover: none)").matches;
let shown, runtime, message = () => say("loading"), complaint, lock; // shown: the photo in the viewer

const viewer = new Viewer($("viewer"), { onChange: () => showView() });
let queue;

// Words

function tell(words) {
  message = words;
  $("status").textContent = words();
}

// Shows an error, { key, values }; with `photo`, what can be done about it.
function complain(error, photo) {
  complaint = error && { error, photo };
  $("alert").hidden = !error;
  if (!error) return;
  $("error").textContent = say(error.key, error.values);
  $("reduce").hidden = !(photo && error.key === "large");
  $("reduce").textContent = say("reduce", { most: Math.floor(mostPixels() / 1e6) });
}

function describe() {
  $("status").textContent = message();
  $("version").textContent = say("version", { version: VERSION });
  if (complaint) complain(complaint.error, complaint.photo);
  showControls();
  showPhotos();
  showView();
}

// Photos in

function take(files) {
  const given = [...files];
  if (!given.length) return;
  complain();
  const added = queue.add(given);
  if (!shown || shown.state === "failed") select(added[0]);
  showPhotos();
}

async function select(photo) {
  shown = photo;
  viewer.close();
  showControls();
  showPhotos();
  if (photo?.error) complain(photo.error, photo);
  if (!photo?.width || photo.state === "opening") return;
  const { pixels } = await queue.open(photo).catch(() => ({}));
  if (pixels && shown === photo) await showBefore(photo, pixels);
  if (shown === photo && photo.strokes[photo.chosen]) await choose(photo.chosen);
}

const imageOf = (photo, pixels) => new ImageData(pixels, photo.width, photo.height, { colorSpace: photo.keep.space ?? "srgb" });
const showBefore = (photo, pixels) => viewer.open(imageOf(photo, pixels));

async function choose(index) {
  const photo = shown;
  photo.chosen = index;
  photo.saved = false;
  const pixels = new Uint8ClampedArray(await photo.strokes[index].pixels.arrayBuffer());
  if (shown === photo && photo.chosen === index) await viewer.setAfter(imageOf(photo, pixels));
}

function startOver() {
  if (unsaved() && !confirm(say("discard"))) return;
  queue.clear();
  complain();
  select(undefined);
  tell(() => say("ready"));
  $("choose").focus();
}

const unsaved = () => queue.busy || queue.photos.some((photo) => photo.state === "waiting" || (photo.state === "done" && !photo.saved));

// What the queue tells

function onChange(photo) {
  if (photo === shown || photo.state === "failed") report(photo);
  if (photo === shown) showControls(); else showSaveAll();
  showPhotos();
  keepAwake(Boolean(queue.busy));
}

function report(photo) {
  const { state, name } = photo;
  if (state === "failed") {
    complain(photo.error, photo);
    if (photo === shown) tell(() => "");
    if (queue.photos.every((other) => other.state === "failed")) { // nothing to show: back to the start, with its error
      queue.photos = [];
      select(undefined);
    }
  } else if (state === "done") {
    const same = photo.strokes[0].change < HARDLY;
    tell(() => [same ? say("doneSame") : say("done", { percent: number(100 * photo.sharper) }), ...notes(photo)].join(" "));
  } else if (state === "opening") tell(() => say("opening", { name }));
  else if (state === "working") tell(() => say("working"));
  else if (state === "cancelled") tell(() => say("cancelled"));
}

function onReady(data) {
  if (data.kind === "failed") { complain({ key: "noModel", values: { reason: data.reason } }); return; }
  runtime = data;
  document.documentElement.dataset.runtime = data.runtime;
  if (!queue.busy) tell(() => say("ready"));
  showControls();
  keepOffline(data.files).catch(() => {});
}

async function keepAwake(busy) {
  if (busy && !lock) {
    lock = "asked";
    lock = await navigator.wakeLock?.request("screen").catch(() => undefined);
  } else if (!busy && lock?.release) { lock.release(); lock = undefined; }
}

// What is shown

function showControls() {
  const photo = shown, state = photo?.state, made = Boolean(photo?.strokes.length) && state !== "working";
  document.body.classList.toggle("starting", !photo);
  $("start").hidden = Boolean(photo);
  for (const id of ["work", "view", "controls"]) $(id).hidden = !photo;
  $("progress").hidden = !["waiting", "opening", "working"].includes(state);
  document.body.classList.toggle("working", !$("progress").hidden); // what the progress says need not be read twice
  for (const id of ["save", "format-label"]) $(id).hidden = !made;
  $("copy").hidden = !made || !canCopy();
  $("share").hidden = !made || !TOUCH || !canShare();
  $("again").hidden = state !== "cancelled";
  showSaveAll();
  fillPanel($("panel"), photo, runtime, choose);
  if (made) showFormats(photo);
  if (photo) showProgress();
}

const donePhotos = () => queue.photos.filter(({ state }) => state === "done");

function showSaveAll() {
  const n = donePhotos().length;
  $("save-all").hidden = n < 2;
  $("save-all").textContent = say("saveAll", { n: number(n) });
}

function showFormats(photo) {
  $("format").replaceChildren(...Object.entries(FORMATS).map(([key, name]) => {
    const own = key === photo.keep.kind;
    return new Option(own ? say("asItWas", { format: name }) : name, key, false, key === (photo.format ?? ownFormat(photo)));
  }));
}

function showProgress() {
  if (!shown || $("progress").hidden) return;
  if (shown.state !== "working") {
    $("progress-words").textContent = shown.state === "opening" ? say(runtime ? "opening" : "loading", { name: shown.name }) : say("waiting");
    $("left").textContent = "";
    $("meter").removeAttribute("value");
    return;
  }
  const { share, seconds } = progressOf(shown);
  $("progress-words").textContent = `${say("working")} ${say("percent", { percent: number(100 * share) })}`;
  $("left").textContent = seconds === undefined ? "" : timeLeft(seconds);
  $("meter").value = share;
}

function timeLeft(seconds) {
  if (seconds < 4) return say("almost");
  if (seconds < 90) return say("secondsLeft", { n: number(seconds < 15 ? Math.ceil(seconds) : 5 * Math.ceil(seconds / 5)) });
  return say("minutesLeft", { n: number(Math.ceil(seconds / 60)) });
}

function showView() {
  $("fit").setAttribute("aria-pressed", viewer.fits);
  $("full").setAttribute("aria-pressed", !viewer.fits && Math.abs(viewer.scale - 1) < 1e-3);
  const before = Math.round(100 * viewer.split);
  $("divider").setAttribute("aria-valuenow", before);
  $("divider").setAttribute("aria-valuetext", say("dividerAt", { before, after: 100 - before }));
}

// The photos as thumbnails, each with its state. They are changed, not made anew: one may have the focus.
function showPhotos() {
  const list = $("photos");
  list.hidden = queue.photos.length < 2;
  const wanted = new Set(queue.photos.map(({ id }) => id));
  for (const item of [...list.children]) if (!wanted.has(item.dataset.photo)) item.remove();
  for (const photo of queue.photos) {
    const item = [...list.children].find(({ dataset }) => dataset.photo === photo.id) ?? list.appendChild(newItem(photo));
    const [button] = item.children, state = say(`state${photo.state[0].toUpperCase()}${photo.state.slice(1)}`);
    button.dataset.state = photo.state;
    button.setAttribute("aria-current", photo === shown);
    button.setAttribute("aria-label", say("photoState", { name: photo.name, state }));
    button.title = `${photo.name}: ${state}`;
    if (photo.thumbnail && !button.firstChild.width) {
      const { width, height } = photo.thumbnail;
      Object.assign(button.firstChild, { width, height }).getContext("2d").drawImage(photo.thumbnail, 0, 0);
    }
  }
}

function newItem(photo) {
  const item = document.createElement("li"), button = Object.assign(document.createElement("button"), { type: "button" });
  item.dataset.photo = photo.id;
  button.append(Object.assign(document.createElement("canvas"), { width: 0, height: 0 }));
  button.addEventListener("click", () => { complain(); select(photo).then(() => report(photo)); });
  item.append(button);
  return item;
}

// Buttons

// Does a piece of saving, with words before and after.
async function doing(work, words) {
  tell(() => say("preparing"));
  try {
    await work();
    tell(words);
  } catch (error) {
    tell(() => "");
    complain(error.key ? error : { key: "failed", values: { reason: error.message } });
  }
}

function listen() {
  const on = (id, listener) => $(id).addEventListener("click", listener);
  for (const id of ["choose", "add"]) on(id, () => $("file").click());
  on("take", () => $("camera").click());
  for (const id of ["file", "camera"]) $(id).addEventListener("change", ({ target }) => { take(target.files); target.value = ""; });
  on("example", async () => {
    const blob = await (await fetch("./sample/walkway.jpg")).blob();
    take([new File([blob], "walkway.jpg", { type: "image/jpeg" })]);
  });
  on("cancel", () => queue.cancel(shown));
  on("again", () => queue.again(shown));
  on("start-over", startOver);
  on("dismiss", () => complain());
  on("reduce", () => { const { photo } = complaint; complain(); reduced(photo); });
  let name;
  on("save", () => doing(async () => { name = await save(shown); }, () => say("saved", { name })));
  on("save-all", () => {
    const done = donePhotos();
    doing(() => saveAll(done, "deblurred.zip"), () => say("savedAll", { n: done.length, name: "deblurred.zip" }));
  });
  on("copy", () => doing(() => copy(shown), () => say("copied")));
  on("share", () => doing(() => share(shown), () => ""));
  $("format").addEventListener("change", ({ target }) => { Object.assign(shown, { format: target.value, saved: false }); report(shown); });
  on("fit", () => viewer.fit());
  on("full", () => viewer.zoom(1));
  on("zoom-in", () => viewer.zoom(viewer.scale * 1.5));
  on("zoom-out", () => viewer.zoom(viewer.scale / 1.5));
  $("details").addEventListener("keydown", (event) => { if (event.key === "Escape") { $("details").open = false; $("details").firstElementChild.focus(); } });
  addEventListener("pointerdown", ({ target }) => { if (!$("details").contains(target)) $("details").open = false; });

  for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
  addEventListener("drop", (event) => { event.preventDefault(); document.body.classList.remove("dragging"); take(event.dataTransfer.files); });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  for (const kind of ["keydown", "keyup"]) addEventListener(kind, (event) => {
    if (event.key.toLowerCase() === "b" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest("select")) viewer.hold(kind === "keydown");
  });
  addEventListener("beforeunload", (event) => { if (unsaved()) event.preventDefault(); });
  addEventListener("visibilitychange", () => { if (!document.hidden) { lock = undefined; keepAwake(Boolean(queue.busy)); } });
  setInterval(showProgress, 200);
}

// A photo that was refused for its size, again, reduced to what fits.
function reduced(photo) {
  if (!queue.photos.includes(photo)) queue.photos.push(photo);
  select(photo);
  queue.again(photo, { reduce: true });
}

await readyForPhotos();
queue = new Queue({
  wanted: new URLSearchParams(location.search).get("runtime"),
  onReady, onChange,
  onOpened: async (photo, pixels) => { if (photo === shown) await showBefore(photo, pixels); },
  onStroke: async (photo, pixels) => {
    if (photo !== shown) return;
    await viewer.setAfter(imageOf(photo, pixels));
    showControls();
  },
});
if (/^https:/.test(SOURCE)) Object.assign($("source"), { href: SOURCE, hidden: false });
speak($("language"), describe);
listen();
describe();
