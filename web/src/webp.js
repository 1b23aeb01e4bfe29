// WebP: the browser encodes, and what the file says beside its pixels is put in.
import { ascii, joined, text, viewOf } from "./bytes.js";

const ALPHA = 0x10, ICC = 0x20, EXIF = 0x08, XMP = 0x04; // flags of VP8X

function chunk(kind, body) {
  const head = new Uint8Array(8);
  head.set(ascii(kind));
  viewOf(head).setUint32(4, body.length, true);
  return joined([head, body, body.length & 1 ? [0] : []]);
}

// Returns an encoded WebP with what `keep` holds of exif, icc and xmp, and no other profile.
export function withWebp(bytes, width, height, { exif, icc, xmp, opaque }) {
  const pictures = [];
  for (let at = 12; at + 8 <= bytes.length;) {
    const kind = text(bytes, at, at + 4), end = at + 8 + viewOf(bytes).getUint32(at + 4, true);
    if (["VP8 ", "VP8L", "ALPH"].includes(kind)) pictures.push(chunk(kind, bytes.subarray(at + 8, end)));
    at = end + (end & 1);
  }
  const head = new Uint8Array(10), three = (at, value) => head.set([value & 255, (value >> 8) & 255, value >> 16], at);
  head[0] = (opaque ? 0 : ALPHA) | (icc ? ICC : 0) | (exif ? EXIF : 0) | (xmp ? XMP : 0);
  three(4, width - 1);
  three(7, height - 1);
  const parts = [chunk("VP8X", head), ...(icc ? [chunk("ICCP", icc)] : []), ...pictures];
  if (exif) parts.push(chunk("EXIF", exif));
  if (xmp) parts.push(chunk("XMP ", xmp));
  const body = joined([ascii("WEBP"), ...parts]);
  return chunk("RIFF", body);
}
