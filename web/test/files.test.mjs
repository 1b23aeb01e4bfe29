import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";
import { inflateSync } from "node:zlib";
import { padChannels } from "../pad.mjs";
import { ascii, joined } from "../src/bytes.js";
import { encodeJpeg, tablesLike } from "../src/jpeg.js";
import { chunks, kindOf, readMetadata } from "../src/metadata.js";
import { encodePng } from "../src/png.js";
import { withWebp } from "../src/webp.js";
import { WORDS } from "../src/words.js";
import { zip } from "../src/zip.js";

const [width, height] = [37, 21];
const pixels = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) => (i % 4 === 3 ? 255 : (i * i * 7) % 256));
// EXIF of one entry: the orientation, 6.
const exif = joined([ascii("II*\0"), [8, 0, 0, 0], [1, 0], [0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0], [0, 0, 0, 0]]);
const icc = joined([new Uint8Array(16), ascii("RGB "), new Uint8Array(200)]);
const xmp = ascii('<x tiff:Orientation="6"/>');
const keep = { exif, icc, xmp, opaque: true };

function same(found) {
  assert.deepEqual(found.icc, icc);
  assert.equal(found.exif[18], 1); // upright
  assert.deepEqual(found.exif.toSpliced?.(18, 1) ?? [...found.exif].filter((_, i) => i !== 18), [...exif].filter((_, i) => i !== 18));
  assert.equal(String.fromCharCode(...found.xmp), '<x tiff:Orientation="1"/>');
}

test("a JPEG's words, tables and sampling are read as they were written", async () => {
  const table = Array.from({ length: 64 }, (_, i) => 1 + (i % 3));
  const given = { ...keep, tables: [table, table, table], sampling: [[2, 1], [1, 1], [1, 1]], density: Uint8Array.of(1, 1, 44, 1, 44) };
  const found = await readMetadata(encodeJpeg(pixels, width, height, given));
  same(found);
  assert.equal(found.kind, "jpeg");
  assert.equal(found.cut, false);
  assert.deepEqual(found.sampling, given.sampling);
  assert.deepEqual(found.density, given.density);
  const [brightness, colour] = tablesLike(given.tables);
  assert.deepEqual(found.tables, [brightness, colour, colour]);
  assert.ok(found.tables[0].every((value, i) => value <= table[i]));
});

test("a JPEG without its end is cut, even with a preview's end inside", async () => {
  const whole = encodeJpeg(pixels, width, height, { exif: joined([exif, [0xff, 0xd8, 0xff, 0xd9]]) });
  assert.equal((await readMetadata(whole.subarray(0, whole.length - 20))).cut, true);
  assert.equal((await readMetadata(joined([whole, ascii("what a phone appends")]))).cut, false);
});

test("a profile of many parts and one of CMYK", async () => {
  const long = joined([icc, new Uint8Array(150_000).map((_, i) => i)]);
  assert.deepEqual((await readMetadata(encodeJpeg(pixels, width, height, { icc: long }))).icc, long);
  const cmyk = joined([new Uint8Array(16), ascii("CMYK"), new Uint8Array(200)]);
  assert.equal((await readMetadata(encodeJpeg(pixels, width, height, { icc: cmyk }))).icc, undefined);
});

for (const [grey, opaque, channels] of [[true, true, 1], [false, true, 3], [true, false, 2], [false, false, 4]]) {
  test(`a PNG of ${channels} channels holds the pixels`, async () => {
    const bytes = await encodePng(pixels, width, height, { exif, xmp, grey, opaque, icc: grey ? undefined : icc });
    const found = await readMetadata(bytes);
    if (!grey) same(found);
    assert.equal(found.grey, grey);
    const packed = joined([...chunks(bytes)].filter(({ kind }) => kind === "IDAT").map(({ body }) => body));
    const rows = inflateSync(packed), row = 1 + channels * width;
    assert.equal(rows.length, row * height);
    const out = new Uint8Array(rows.length);
    for (let y = 0; y < height; y++) for (let i = 1; i < row; i++) { // Paeth, the other way about
      const at = y * row + i, a = i > channels ? out[at - channels] : 0, b = y ? out[at - row] : 0, c = y && i > channels ? out[at - row - channels] : 0;
      const [pa, pb, pc] = [a, b, c].map((value) => Math.abs(a + b - c - value));
      out[at] = rows[at] + (pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
    }
    const places = [...(grey ? [0] : [0, 1, 2]), ...(opaque ? [] : [3])];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const expected = places.map((place) => pixels[4 * (y * width + x) + place]);
      assert.deepEqual([...out.subarray(y * row + 1 + channels * x, y * row + 1 + channels * (x + 1))], expected);
    }
  });
}

test("a WebP's words are read as they were put in", async () => {
  const bare = joined([ascii("RIFF"), [0, 0, 0, 0], ascii("WEBPVP8L"), [3, 0, 0, 0], [1, 2, 3, 0]]);
  const found = await readMetadata(withWebp(bare, width, height, keep));
  same(found);
  assert.equal(found.lossless, true);
});

test("AVIF and HEIC: profile, EXIF and XMP", async () => {
  const be = (value, size) => Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** (size - 1 - i)) % 256);
  const box = (kind, ...parts) => { const body = joined(parts); return joined([be(body.length + 8, 4), ascii(kind), body]); };
  const item = (id, ...words) => box("infe", [2, 0, 0, 0], be(id, 2), [0, 0], ...words);
  const exifItem = joined([[0, 0, 0, 0], exif]);
  const build = (start) => joined([
    box("ftyp", ascii("avif"), [0, 0, 0, 0], ascii("mif1avif")),
    box("meta", [0, 0, 0, 0],
      box("iinf", [0, 0, 0, 0], be(2, 2), item(1, ascii("Exif\0")), item(2, ascii("mime\0application/rdf+xml\0"))),
      box("iprp", box("ipco", box("colr", ascii("prof"), icc))),
      box("iloc", [0, 0, 0, 0], [0x44, 0], be(2, 2),
        be(1, 2), be(0, 2), be(1, 2), be(start, 4), be(exifItem.length, 4),
        be(2, 2), be(0, 2), be(1, 2), be(start + exifItem.length, 4), be(xmp.length, 4))),
    box("mdat", exifItem, xmp),
  ]);
  const file = build(build(0).length - exifItem.length - xmp.length);
  const found = await readMetadata(file);
  assert.equal(found.kind, "avif");
  same(found);
});

test("kinds are told by their first bytes", () => {
  for (const [start, kind] of [["\0\0\0\x18ftypheic\0\0\0\0", "heic"], ["\0\0\0\x18ftypisom\0\0\0\0", "clip"], ["GIF89a", "gif"], ["II*\0", "tiff"], ["BM", "other"]]) {
    assert.equal(kindOf(ascii(start)), kind);
  }
});

test("damaged files give what was found, and no error", async () => {
  const whole = encodeJpeg(pixels, width, height, keep);
  for (let length = 12; length < 800; length += 7) await readMetadata(whole.slice(0, length));
  const png = await encodePng(pixels, width, height, keep);
  for (let length = 12; length < png.length; length += 97) await readMetadata(png.slice(0, length)).catch((error) => assert.match(error.message, /./));
});

test("a ZIP names the same name twice differently", async () => {
  const files = [{ name: "a.png", blob: new Blob(["one"]) }, { name: "a.png", blob: new Blob(["two"]) }];
  const text = Buffer.from(await (await zip(files)).arrayBuffer()).toString("latin1");
  assert.ok(text.includes("a.pngone") && text.includes("a-2.pngtwo"));
});

test("a network of 6 channels takes 8", () => {
  const original = readFileSync(new URL("../../src/golfdeblur/weights/fast/F.onnx", import.meta.url));
  const padded = padChannels(original, 6, 8);
  assert.ok(padded.length > original.length);
  assert.throws(() => padChannels(original, 7, 8), /No convolution/);
});

test("every language has all the words, with the same gaps, and the page uses them all", () => {
  const sources = readdirSync(new URL("../src/", import.meta.url)).filter((name) => /\.(js|html)$/.test(name) && name !== "words.js");
  const used = sources.map((name) => readFileSync(new URL(`../src/${name}`, import.meta.url), "utf8")).join();
  const gaps = (words) => [...new Set(words.match(/\{\w+\}/g) ?? [])].sort();
  for (const [language, words] of Object.entries(WORDS)) {
    assert.deepEqual(Object.keys(words).sort(), Object.keys(WORDS.en).sort(), language);
    for (const key of Object.keys(words)) assert.deepEqual(gaps(words[key]), gaps(WORDS.en[key]), `${language}: ${key}`);
  }
  for (const key of Object.keys(WORDS.en)) {
    const name = key.replace(/Touch$/, "");
    if (/^(state|why)[A-Z]/.test(key) || ["webgpu", "wasm"].includes(key)) continue; // put together from what is told
    assert.match(used, new RegExp(`["']${name}["']`), `${key} is not used`);
  }
});
