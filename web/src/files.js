// The worker that reads and writes files, so that the page never stands still: { id, call, ... } in, { id, ... } out.
import { encodeJpeg } from "./jpeg.js";
import { Refusal, openPhoto } from "./open.js";
import { encodePng } from "./png.js";
import { withWebp } from "./webp.js";
import { zip } from "./zip.js";

const QUALITY = 0.95;
const THUMBNAIL_PX = 128;
const TYPES = { jpeg: "image/jpeg", png: "image/png", webp: "image/webp" };

// A photo's pixels as a Blob: { pixels (a Blob of RGBA bytes), width, height, keep, format }.
async function encode({ pixels: stored, width, height, keep, format }) {
  const pixels = new Uint8ClampedArray(await stored.arrayBuffer());
  const type = TYPES[format];
  if (format === "jpeg") return new Blob([encodeJpeg(pixels, width, height, keep)], { type });
  if (format === "png") return new Blob([await encodePng(pixels, width, height, keep)], { type });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  const blob = await canvas.convertToBlob({ type, quality: keep.lossless ? 1 : QUALITY });
  if (blob.type !== type) throw new Refusal("noWebp");
  return new Blob([withWebp(new Uint8Array(await blob.arrayBuffer()), width, height, keep)], { type });
}

async function thumbnail({ file }) {
  const whole = await createImageBitmap(file, { imageOrientation: "from-image" });
  const share = THUMBNAIL_PX / Math.min(whole.width, whole.height);
  const options = { resizeWidth: Math.ceil(whole.width * share), resizeHeight: Math.ceil(whole.height * share), resizeQuality: "medium" };
  const small = await createImageBitmap(whole, options);
  whole.close();
  return small;
}

const CALLS = {
  open: async ({ file, most, reduce }) => {
    const photo = await openPhoto(file, { most, reduce });
    return [photo, photo.pixels.buffer];
  },
  thumbnail: async (data) => {
    const bitmap = await thumbnail(data);
    return [bitmap, bitmap];
  },
  encode: async (data) => [await encode(data)],
  zip: async ({ files }) => [await zip(files)],
};

self.addEventListener("message", async ({ data }) => {
  try {
    const [result, ...moved] = await CALLS[data.call](data);
    self.postMessage({ id: data.id, result }, moved);
  } catch (error) {
    const memory = /memory|alloc|too large/i.test(String(error.message)) || error instanceof RangeError;
    self.postMessage({ id: data.id, key: error.key ?? (memory ? "memory" : "failed"), values: error.values ?? { reason: String(error.message ?? error) } });
  }
});
