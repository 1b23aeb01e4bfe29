// What a photo's file says beside its pixels, read from its bytes, so that it can be put into what is saved. The pixels
// are upright by then, so the orientation is reset.
import { readBoxes } from "./boxes.js";
import { inflated, joined, text, viewOf } from "./bytes.js";

// In the XMP of a phone's moving or HDR photo: more than one picture lies in the file, and only the first is kept.
const APPENDED = ["Container:Directory", "MicroVideo"];
const JPEG_XMP = "http://ns.adobe.com/xap/1.0/\0";
export const PNG_XMP = "XML:com.adobe.xmp";

// Returns { kind, exif, icc, xmp, grey, bits, pictures, ... }: kind is "jpeg", "png", "webp", "avif", "heic", "tiff", "gif"
// or "other"; exif a TIFF block, icc a profile of RGB or grey; of a JPEG also its tables, sampling and density, and `cut`
// where its end is missing. What is not there is missing.
export async function readMetadata(bytes) {
  const found = { kind: kindOf(bytes) };
  try {
    if (found.kind === "jpeg") readJpeg(bytes, found);
    else if (found.kind === "png") await readPng(bytes, found);
    else if (found.kind === "webp") readWebp(bytes, found);
    else if (found.kind === "avif" || found.kind === "heic") readBoxes(bytes, found);
    else if (found.kind === "gif") found.pictures = framesOfGif(bytes);
  } catch { /* damaged: what was found so far */ }
  if (found.exif) found.exif = upright(found.exif);
  if (found.xmp) found.xmp = uprightXmp(found.xmp);
  if (found.icc && text(found.icc, 16, 20) !== (found.grey ? "GRAY" : "RGB ")) {
    if (found.grey && text(found.icc, 16, 20) === "RGB ") found.grey = false;
    else delete found.icc; // of CMYK, say: what is saved is RGB
  }
  if (found.icc && isDisplayP3(found.icc)) found.space = "display-p3";
  return found;
}

// Whether a profile is Apple's Display P3, by its red: so that it is shown as it is, too.
function isDisplayP3(icc) {
  const view = viewOf(icc), close = (at, value) => Math.abs(view.getInt32(at) / 65536 - value) < 2e-3;
  for (let i = 0; icc.length > 132 && i < view.getUint32(128) && 144 + 12 * i <= icc.length; i++) {
    const at = view.getUint32(136 + 12 * i);
    if (text(icc, 132 + 12 * i, 136 + 12 * i) === "rXYZ" && at + 20 <= icc.length) return close(at + 8, 0.5151) && close(at + 12, 0.2412);
  }
  return false;
}

export function kindOf(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return "jpeg";
  if (text(bytes, 1, 4) === "PNG") return "png";
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP") return "webp";
  if (text(bytes, 0, 4) === "GIF8") return "gif";
  if (["II*\0", "MM\0*"].includes(text(bytes, 0, 4))) return "tiff";
  if (text(bytes, 4, 8) === "ftyp") {
    const brands = text(bytes, 8, Math.min(viewOf(bytes).getUint32(0), 64));
    if (brands.includes("avif") || brands.includes("avis")) return "avif";
    if (/hei[cxms]|hev[cx]|mif1|msf1/.test(brands)) return "heic";
    return "clip"; // MP4, MOV and their like
  }
  if (viewOf(bytes).byteLength > 4 && viewOf(bytes).getUint32(0) === 0x1a45dfa3) return "clip"; // Matroska, WebM
  return "other";
}

function readJpeg(bytes, found) {
  const parts = [], tables = [], view = viewOf(bytes);
  let at = 2;
  for (; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda;) {
    const marker = bytes[at + 1], length = view.getUint16(at + 2), body = bytes.subarray(at + 4, at + 2 + length);
    if (marker === 0xe0 && text(body, 0, 4) === "JFIF") found.density = body.slice(7, 12);
    if (marker === 0xe1 && text(body, 0, 4) === "Exif") found.exif ??= body.slice(6);
    if (marker === 0xe1 && text(body, 0, JPEG_XMP.length) === JPEG_XMP) found.xmp ??= body.slice(JPEG_XMP.length);
    if (marker === 0xe2 && text(body, 0, 11) === "ICC_PROFILE") parts[body[12]] = body.slice(14);
    if (marker === 0xdb) readTables(body, tables);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      const channels = Array.from({ length: body[5] }, (_, i) => body.subarray(6 + 3 * i, 9 + 3 * i));
      found.grey = channels.length === 1;
      found.sampling = channels.map((channel) => [channel[1] >> 4, channel[1] & 15]);
      found.tableOf = channels.map((channel) => channel[2]);
    }
    at += 2 + length;
  }
  found.tables = found.tableOf?.map((number) => tables[number]);
  if (parts.some(Boolean)) found.icc = joined(parts.filter(Boolean));
  let end = bytes.length - 1;
  while (end > at && !(bytes[end] === 0xd9 && bytes[end - 1] === 0xff)) end -= 1;
  found.cut = end <= at;
}

function readTables(body, tables) {
  for (let at = 0; at < body.length;) {
    const wide = body[at] >> 4, number = body[at] & 15;
    tables[number] = Array.from({ length: 64 }, (_, i) => (wide ? (body[at + 1 + 2 * i] << 8) | body[at + 2 + 2 * i] : body[at + 1 + i]));
    at += 1 + 64 * (1 + wide);
  }
}

async function readPng(bytes, found) {
  for (const { kind, body } of chunks(bytes)) {
    if (kind === "IHDR") Object.assign(found, { bits: body[8], grey: body[9] === 0 || body[9] === 4 });
    if (kind === "acTL") found.pictures = viewOf(body).getUint32(0);
    if (kind === "eXIf") found.exif = body.slice();
    if (kind === "pHYs") found.resolution = body.slice();
    if (kind === "iCCP") found.icc = await inflated(body.subarray(body.indexOf(0) + 2));
    if (kind === "iTXt" && text(body, 0, PNG_XMP.length) === PNG_XMP) {
      const packed = body[PNG_XMP.length + 1];
      let at = PNG_XMP.length + 3;
      for (let zeros = 0; zeros < 2; at++) if (body[at] === 0) zeros += 1; // language and translated name
      found.xmp = packed ? await inflated(body.subarray(at)) : body.slice(at);
    }
  }
}

export function* chunks(bytes) {
  const view = viewOf(bytes);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    yield { kind: text(bytes, at + 4, at + 8), body: bytes.subarray(at + 8, at + 8 + length) };
    at += 12 + length;
  }
}

function readWebp(bytes, found) {
  const view = viewOf(bytes);
  for (let at = 12; at + 8 <= bytes.length;) {
    const kind = text(bytes, at, at + 4), length = view.getUint32(at + 4, true), body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "EXIF") found.exif = text(body, 0, 4) === "Exif" ? body.slice(6) : body.slice();
    if (kind === "ICCP") found.icc = body.slice();
    if (kind === "XMP ") found.xmp = body.slice();
    if (kind === "VP8L") found.lossless = true;
    if (kind === "ANMF") found.pictures = (found.pictures ?? 0) + 1;
    at += 8 + length + (length & 1);
  }
}

function framesOfGif(bytes) {
  const table = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + table(bytes[10]), frames = 0;
  while (at < bytes.length && bytes[at] !== 0x3b) {
    if (bytes[at] === 0x2c) { frames += 1; at += 11 + table(bytes[at + 9]); } else at += 2;
    while (bytes[at]) at += bytes[at] + 1; // sub-blocks
    at += 1;
  }
  return frames;
}

// Returns a copy of an EXIF block whose orientation tag, if there is one, says upright.
function upright(exif) {
  const copy = exif.slice(), view = viewOf(copy);
  const little = text(copy, 0, 2) === "II";
  const first = copy.length < 8 ? Infinity : view.getUint32(4, little);
  if (first + 2 > copy.length) return copy;
  for (let i = 0; i < view.getUint16(first, little); i++) {
    const entry = first + 2 + 12 * i;
    if (entry + 12 <= copy.length && view.getUint16(entry, little) === 0x0112) view.setUint16(entry + 8, 1, little);
  }
  return copy;
}

// The XMP with the orientation reset; nothing where it describes what follows the picture in its file.
function uprightXmp(xmp) {
  const words = new TextDecoder().decode(xmp);
  if (APPENDED.some((word) => words.includes(word))) return undefined;
  return new TextEncoder().encode(words.replace(/(tiff:Orientation(?:="|>))[2-8]/g, "$11"));
}
