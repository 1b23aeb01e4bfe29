// A baseline JPEG encoder (ITU T.81), so that the input's own quantisation tables and subsampling can be used again: the
// browser's encoder takes a quality alone, and halves the colour's resolution.
import { ascii, joined } from "./bytes.js";

const XMP = ascii("http://ns.adobe.com/xap/1.0/\0");
const LARGEST = 65_533; // bytes of a segment's body
const QUALITY = 95;

// Where each coefficient stands on the diagonal walk through 8 x 8.
const ZIGZAG = [
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];
// Annex K's tables, in that order.
const LUMINANCE = [
  16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
  56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
];
const CHROMINANCE = [17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, ...Array(50).fill(99)];
const DC_BITS = [[0, 1, 5, 1, 1, 1, 1, 1, 1], [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1]].map((bits) => [...bits, ...Array(16 - bits.length).fill(0)]);
const DC_VALUES = Array.from({ length: 12 }, (_, i) => i);
// Every run of zeros and size, so that any image can be coded: 162 codes of which the likely ones are short.
const AC_BITS = [[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119]];
const AC_FIRST = [
  "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282",
  "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f1",
].map((hex) => hex.match(/../g).map((pair) => parseInt(pair, 16)));
const AC_VALUES = AC_FIRST.map((first) => {
  const all = [0x00, 0xf0];
  for (let run = 0; run < 16; run++) for (let size = 1; size <= 10; size++) all.push(16 * run + size);
  return [...first, ...all.filter((value) => !first.includes(value)).sort((a, b) => a - b)];
});

const scaled = (table) => table.map((value) => Math.max(1, Math.floor((value * (200 - 2 * QUALITY) + 50) / 100)));

// The tables in use, one for grey or brightness and one for colour: the input's, as in the command, or those of quality 95.
// Of the input's two for colour the finer, entry by entry.
export function tablesLike(theirs = [], channels = 3) {
  const ours = channels === 1 ? [LUMINANCE] : [LUMINANCE, CHROMINANCE];
  return ours.map((table, which) => {
    const given = (which ? theirs.slice(1) : theirs.slice(0, 1)).filter(Boolean);
    return given.length ? table.map((_, i) => Math.min(255, ...given.map((other) => other[i]))) : scaled(table);
  });
}

function codes(bits, values) {
  const found = [];
  let code = 0, at = 0;
  bits.forEach((many, length) => {
    for (let i = 0; i < many; i++) found[values[at++]] = [code++, length + 1];
    code *= 2;
  });
  return found;
}

// Returns the file's bytes for RGBA pixels: `keep` may hold grey, tables, sampling, density, exif, icc and xmp.
export function encodeJpeg(pixels, width, height, keep = {}) {
  const channels = keep.grey ? 1 : 3, tables = tablesLike(keep.tables, channels);
  const given = keep.sampling?.length === 3 && !keep.grey ? keep.sampling : undefined;
  const usual = given && given[0].every((factor) => factor <= 2) && given.slice(1).every((pair) => pair.join() === "1,1");
  const sampling = channels === 1 ? [[1, 1]] : usual ? given : [[1, 1], [1, 1], [1, 1]];
  const scan = encodeScan(planes(pixels, width, height, channels), width, height, { tables, sampling });
  return joined([[0xff, 0xd8], ...headers(width, height, { ...keep, tables, sampling }), scan, [0xff, 0xd9]]);
}

function headers(width, height, { density, exif, xmp, icc, tables, sampling }) {
  const segment = (marker, ...body) => {
    const content = joined(body), length = content.length + 2;
    return joined([[0xff, marker, length >> 8, length & 255], content]);
  };
  const out = [segment(0xe0, ascii("JFIF\0"), [1, 1], density ?? [0, 0, 1, 0, 1], [0, 0])];
  if (exif && exif.length + 6 <= LARGEST) out.push(segment(0xe1, ascii("Exif\0\0"), exif));
  if (xmp && xmp.length + XMP.length <= LARGEST) out.push(segment(0xe1, XMP, xmp));
  const size = LARGEST - 14, parts = Math.ceil((icc?.length ?? 0) / size);
  for (let i = 0; i < parts; i++) out.push(segment(0xe2, ascii("ICC_PROFILE\0"), [i + 1, parts], icc.subarray(i * size, (i + 1) * size)));
  tables.forEach((table, c) => out.push(segment(0xdb, [c], table)));
  const channels = sampling.flatMap(([h, v], c) => [c + 1, 16 * h + v, Math.min(c, 1)]);
  out.push(segment(0xc0, [8, height >> 8, height & 255, width >> 8, width & 255, sampling.length], channels));
  for (const which of sampling.length === 1 ? [0] : [0, 1]) {
    out.push(segment(0xc4, [which], DC_BITS[which], DC_VALUES), segment(0xc4, [16 + which], AC_BITS[which], AC_VALUES[which]));
  }
  const scans = sampling.flatMap((_, c) => [c + 1, c ? 0x11 : 0]);
  return [...out, segment(0xda, [sampling.length], scans, [0, 63, 0])];
}

// Y, Cb and Cr less 128 (JFIF), or grey alone.
function planes(pixels, width, height, channels) {
  const out = Array.from({ length: channels }, () => new Float32Array(width * height));
  for (let i = 0; i < width * height; i++) {
    const r = pixels[4 * i], g = pixels[4 * i + 1], b = pixels[4 * i + 2];
    if (channels === 1) { out[0][i] = r - 128; continue; }
    out[0][i] = Math.round(0.299 * r + 0.587 * g + 0.114 * b) - 128;
    out[1][i] = Math.round(-0.168735892 * r - 0.331264108 * g + 0.5 * b);
    out[2][i] = Math.round(0.5 * r - 0.418687589 * g - 0.081312411 * b);
  }
  return out;
}

function encodeScan(channels, width, height, { tables, sampling }) {
  const [most, tallest] = [Math.max(...sampling.map(([h]) => h)), Math.max(...sampling.map(([, v]) => v))];
  const huffman = [0, 1].map((which) => ({ dc: codes(DC_BITS[which], DC_VALUES), ac: codes(AC_BITS[which], AC_VALUES[which]) }));
  const writer = bitWriter(), block = new Float32Array(64), last = channels.map(() => 0);
  for (let y = 0; y < height; y += 8 * tallest) for (let x = 0; x < width; x += 8 * most) {
    channels.forEach((plane, c) => {
      const [h, v] = sampling[c], [dx, dy] = [most / h, tallest / v];
      for (let row = 0; row < v; row++) for (let column = 0; column < h; column++) {
        fill(block, plane, width, height, { x: x + 8 * column * dx, y: y + 8 * row * dy, dx, dy });
        transform(block);
        last[c] = writeBlock(writer, block, tables[Math.min(c, 1)], last[c], huffman[Math.min(c, 1)]);
      }
    });
  }
  return writer.end();
}

// Puts into `block` the 8 x 8 means of dx * dy pixels from (x, y) on; the border's pixels go on beyond it.
function fill(block, plane, width, height, { x, y, dx, dy }) {
  for (let i = 0; i < 64; i++) {
    let sum = 0;
    for (let v = 0; v < dy; v++) for (let h = 0; h < dx; h++) {
      const row = Math.min(height - 1, y + (i >> 3) * dy + v), column = Math.min(width - 1, x + (i & 7) * dx + h);
      sum += plane[row * width + column];
    }
    block[i] = sum / (dx * dy);
  }
}

const COSINES = Float32Array.from({ length: 64 }, (_, i) => {
  const u = i >> 3, x = i & 7;
  return Math.cos((2 * x + 1) * u * Math.PI / 16) * (u ? 0.5 : Math.SQRT1_2 / 2);
});
const half = new Float32Array(64);

// The discrete cosine transform of a block, in place: rows, then columns; a cosine is even or odd about the middle.
function transform(block) {
  for (const [from, to] of [[block, half], [half, block]]) {
    for (let row = 0; row < 8; row++) {
      const at = 8 * row;
      const a = from[at], b = from[at + 1], c = from[at + 2], d = from[at + 3], e = from[at + 4], f = from[at + 5], g = from[at + 6], h = from[at + 7];
      for (let u = 0; u < 8; u++) {
        const k = 8 * u, s = u & 1 ? -1 : 1;
        to[k + row] = COSINES[k] * (a + s * h) + COSINES[k + 1] * (b + s * g) + COSINES[k + 2] * (c + s * f) + COSINES[k + 3] * (d + s * e);
      }
    }
  }
}

// Writes one block's coefficients and returns its first, from which the next one's is told.
function writeBlock(writer, block, table, last, { dc, ac }) {
  const quantised = (i) => Math.round(block[ZIGZAG[i]] / table[i]);
  const number = (value, size) => writer.put(value < 0 ? value + 2 ** size - 1 : value, size);
  const first = quantised(0), step = first - last, size = bitsOf(step);
  writer.put(...dc[size]);
  number(step, size);
  let run = 0;
  for (let i = 1; i < 64; i++) {
    const value = Math.max(-1023, Math.min(1023, quantised(i)));
    if (value === 0) { run += 1; continue; }
    for (; run > 15; run -= 16) writer.put(...ac[0xf0]);
    const bits = bitsOf(value);
    writer.put(...ac[16 * run + bits]);
    number(value, bits);
    run = 0;
  }
  if (run) writer.put(...ac[0]);
  return first;
}

const bitsOf = (value) => 32 - Math.clz32(Math.abs(value));

function bitWriter() {
  let out = new Uint8Array(1 << 20), at = 0, held = 0, free = 8;
  const byte = (value) => {
    if (at + 2 > out.length) { const larger = new Uint8Array(2 * out.length); larger.set(out); out = larger; }
    out[at++] = value;
    if (value === 0xff) out[at++] = 0;
  };
  const put = (value, bits) => {
    while (bits > 0) {
      const many = Math.min(bits, free);
      bits -= many;
      free -= many;
      held |= ((value >> bits) & ((1 << many) - 1)) << free;
      if (free === 0) { byte(held); held = 0; free = 8; }
    }
  };
  return { put, end: () => { if (free < 8) put(127, free); return out.subarray(0, at); } };
}
