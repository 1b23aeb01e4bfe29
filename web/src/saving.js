// What leaves the page: files to save, the clipboard, other apps.
import { ask } from "./queue.js";

export const FORMATS = { jpeg: "JPEG", png: "PNG", webp: "WebP" };
const SUFFIXES = { jpeg: "jpg", png: "png", webp: "webp" };

// The format that a photo is saved in unless another is chosen: its own, where this page can write it.
export const ownFormat = ({ keep }) => (keep.kind in FORMATS ? keep.kind : keep.kind === "heic" || (keep.kind === "avif" && keep.opaque) ? "jpeg" : "png");

const formatOf = (photo) => photo.format ?? ownFormat(photo);
const nameOf = (photo) => `${photo.name.replace(/\.[^.]*$/, "")}-deblurred.${SUFFIXES[formatOf(photo)]}`;

// The chosen stroke of a photo as { name, blob }.
export async function encoded(photo, format = formatOf(photo)) {
  const { width, height, keep } = photo;
  const { pixels } = photo.strokes[photo.chosen];
  return { name: nameOf(photo), blob: await ask("encode", { pixels, width, height, keep, format }) };
}

export async function save(photo) {
  const { name, blob } = await encoded(photo);
  download(name, blob);
  photo.saved = true;
  return name;
}

export async function saveAll(photos, name) {
  const files = [];
  for (const photo of photos) files.push(await encoded(photo));
  download(name, await ask("zip", { files }));
  for (const photo of photos) photo.saved = true;
}

function download(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const canCopy = () => Boolean(self.ClipboardItem && navigator.clipboard?.write);

// Copies as PNG, the one format that every clipboard takes.
export const copy = (photo) => navigator.clipboard.write([new ClipboardItem({ "image/png": encoded(photo, "png").then(({ blob }) => blob) })]);

export const canShare = () => Boolean(navigator.canShare?.({ files: [new File([], "photo.jpg", { type: "image/jpeg" })] }));

// Offers the photo to other apps. Returns whether it was taken.
export async function share(photo) {
  const { name, blob } = await encoded(photo);
  try {
    await navigator.share({ files: [new File([blob], name, { type: blob.type })] });
    photo.saved = true;
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    throw error;
  }
}
