// A PNG encoder: grey stays grey and opaque stays opaque, which a canvas does not promise.
import { ascii, crc32, deflated, joined, viewOf } from "./bytes.js";
import { PNG_XMP } from "./metadata.js";

function chunk(kind, ...parts) {
  const out = joined([[0, 0, 0, 0], ascii(kind), ...parts, [0, 0, 0, 0]]), view = viewOf(out);
  view.setUint32(0, out.length - 12);
  view.setUint32(out.length - 4, crc32(out.subarray(4, -4)));
  return out;
}

// Returns the file's bytes for RGBA pixels: `keep` may hold grey, opaque, exif, icc, xmp and resolution.
export async function encodePng(pixels, width, height, { grey, opaque, exif, icc, xmp, resolution } = {}) {
  const header = new Uint8Array(13), view = viewOf(header);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = (grey ? 0 : 2) + (opaque ? 0 : 4);
  const channels = [...(grey ? [0] : [0, 1, 2]), ...(opaque ? [] : [3])];
  const out = [[137, 80, 78, 71, 13, 10, 26, 10], chunk("IHDR", header)];
  if (icc) out.push(chunk("iCCP", ascii("ICC profile\0\0"), await deflated(icc)));
  if (resolution) out.push(chunk("pHYs", resolution));
  if (exif) out.push(chunk("eXIf", exif));
  if (xmp) out.push(chunk("iTXt", ascii(`${PNG_XMP}\0\0\0\0\0`), xmp));
  out.push(chunk("IDAT", await deflated(filtered(pixels, width, height, channels))), chunk("IEND"));
  return joined(out);
}

// Every row less what Paeth's filter foretells of it, after the filter's number.
function filtered(pixels, width, height, channels) {
  const many = channels.length, row = 1 + many * width, out = new Uint8Array(row * height);
  for (let y = 0, at = 0; y < height; y++) {
    out[at++] = 4;
    for (let x = 0; x < width; x++) for (let c = 0; c < many; c++) {
      const here = 4 * (y * width + x) + channels[c];
      const a = x ? pixels[here - 4] : 0, b = y ? pixels[here - 4 * width] : 0, corner = x && y ? pixels[here - 4 * width - 4] : 0;
      const pa = Math.abs(b - corner), pb = Math.abs(a - corner), pc = Math.abs(a + b - 2 * corner);
      out[at++] = pixels[here] - (pa <= pb && pa <= pc ? a : pb <= pc ? b : corner);
    }
  }
  return out;
}
