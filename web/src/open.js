// A file becomes pixels: RGBA bytes, upright, with what its file says beside them.
import { kindOf, readMetadata } from "./metadata.js";

const UNREADABLE_HERE = { heic: "./heic/libheif-bundle.mjs" };

// What the visitor is told: a key of the words, and what stands in them.
export class Refusal extends Error {
  constructor(key, values = {}) {
    super(key);
    Object.assign(this, { key, values });
  }
}

// Returns { pixels, width, height, keep, was } of a file; more than `most` pixels are refused, or with `reduce` reduced to.
export async function openPhoto(file, { most, reduce }) {
  const name = file.name || "photo";
  const bytes = new Uint8Array(await file.arrayBuffer().catch(() => { throw new Refusal("unreadable", { name }); }));
  if (!bytes.length) throw new Refusal("empty", { name });
  if (file.type.startsWith("video/") || kindOf(bytes) === "clip") throw new Refusal("clip", { name });
  const keep = await readMetadata(bytes);
  if (keep.cut) throw new Refusal("cut", { name });
  const bitmap = await decode(file, bytes, keep, name);
  const was = { width: bitmap.width, height: bitmap.height };
  const share = Math.min(1, Math.sqrt(most / (was.width * was.height)));
  if (share < 1 && !reduce) {
    throw new Refusal("large", { name, megapixels: Math.ceil(was.width * was.height / 1e6), most: Math.floor(most / 1e6) });
  }
  const [width, height] = share < 1 ? [Math.floor(was.width * share), Math.floor(was.height * share)] : [was.width, was.height];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (bitmap instanceof ImageData) context.putImageData(bitmap, 0, 0);
  else {
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
  }
  let { data: pixels } = context.getImageData(0, 0, width, height);
  keep.opaque = isOpaque(pixels);
  if (!keep.opaque && share === 1 && !(bitmap instanceof ImageData)) pixels = exact(bitmap) ?? pixels;
  bitmap.close?.();
  return { pixels, width, height, keep, was };
}

async function decode(file, bytes, { kind, icc }, name) {
  try {
    // With a profile the file's own values: it is put back into what is saved. Without one, those of sRGB.
    const options = { imageOrientation: "from-image", colorSpaceConversion: icc ? "none" : "default", premultiplyAlpha: "none" };
    return await createImageBitmap(file, options);
  } catch {
    if (!(kind in UNREADABLE_HERE)) throw new Refusal("notPhoto", { name });
    return decodeHeic(bytes, name);
  }
}

async function decodeHeic(bytes, name) {
  let decoder;
  try {
    const { default: open } = await import(UNREADABLE_HERE.heic);
    decoder = new (await open()).HeifDecoder();
  } catch {
    throw new Refusal("noHeic", { name });
  }
  try {
    const [picture] = decoder.decode(bytes);
    const data = new ImageData(picture.get_width(), picture.get_height());
    return await new Promise((found, failed) => picture.display(data, (shown) => (shown ? found(shown) : failed(new Error("damaged")))));
  } catch {
    throw new Refusal("notPhoto", { name });
  }
}

function isOpaque(pixels) {
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] !== 255) return false;
  return true;
}

// The pixels of a bitmap as they are: a 2D canvas multiplies colour by alpha, which cannot be undone. Nothing where the
// graphics card cannot hold it.
function exact(bitmap) {
  const { width, height } = bitmap, gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return undefined;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const pixels = new Uint8ClampedArray(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(pixels.buffer));
  const fine = gl.getError() === gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return fine ? pixels : undefined;
}
