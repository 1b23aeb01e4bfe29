// What a photo's file says beside its pixels, EXIF and colour profile, taken from the input and put into the output.
// The pixels are upright by then, so the orientation is reset.

const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

// Returns { exif, icc }: EXIF as its TIFF block with the orientation reset, ICC as the profile's bytes; either may be missing.
export async function readMetadata(bytes) {
  const found = {};
  if (bytes[0] === 0xff && bytes[1] === 0xd8) readJpeg(bytes, found);
  else if (text(bytes, 1, 4) === "PNG") await readPng(bytes, found);
  else if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP") readWebp(bytes, found);
  if (found.exif) found.exif = upright(found.exif);
  return found;
}

function readJpeg(bytes, found) {
  const parts = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 4 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda;) {
    const marker = bytes[at + 1], length = view.getUint16(at + 2), body = bytes.subarray(at + 4, at + 2 + length);
    if (marker === 0xe1 && text(body, 0, 4) === "Exif") found.exif ??= body.slice(6);
    if (marker === 0xe2 && text(body, 0, 11) === "ICC_PROFILE") parts[body[12]] = body.slice(14);
    at += 2 + length;
  }
  const icc = parts.filter(Boolean);
  if (icc.length) found.icc = joined(icc);
}

async function readPng(bytes, found) {
  for (const { kind, body } of chunks(bytes)) {
    if (kind === "eXIf") found.exif = body.slice();
    if (kind === "iCCP") {
      const name = body.indexOf(0);
      const stream = new Blob([body.subarray(name + 2)]).stream().pipeThrough(new DecompressionStream("deflate"));
      found.icc = new Uint8Array(await new Response(stream).arrayBuffer());
    }
  }
}

function readWebp(bytes, found) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length;) {
    const kind = text(bytes, at, at + 4), length = view.getUint32(at + 4, true), body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "EXIF") found.exif = text(body, 0, 4) === "Exif" ? body.slice(6) : body.slice();
    if (kind === "ICCP") found.icc = body.slice();
    at += 8 + length + (length & 1);
  }
}

// Returns a copy of an EXIF block whose orientation tag, if there is one, says upright.
function upright(exif) {
  const copy = exif.slice(), view = new DataView(copy.buffer);
  const little = text(copy, 0, 2) === "II";
  const first = view.getUint32(4, little);
  if (first + 2 > copy.length) return copy;
  for (let i = 0; i < view.getUint16(first, little); i++) {
    const entry = first + 2 + 12 * i;
    if (entry + 12 <= copy.length && view.getUint16(entry, little) === 0x0112) view.setUint16(entry + 8, 1, little);
  }
  return copy;
}

// Returns the bytes of an encoded JPEG or PNG with the metadata inside.
export async function withMetadata(bytes, { exif, icc }) {
  return bytes[0] === 0xff ? withJpeg(bytes, exif, icc) : withPng(bytes, exif, icc);
}

function withJpeg(bytes, exif, icc) {
  const ascii = (word) => [...word].map((letter) => letter.charCodeAt(0));
  const segment = (marker, ...body) => {
    const length = 2 + body.reduce((sum, part) => sum + part.length, 0);
    return joined([Uint8Array.of(0xff, marker, length >> 8, length & 255), ...body.map((part) => Uint8Array.from(part))]);
  };
  const extra = [];
  if (exif && exif.length < 65500) extra.push(segment(0xe1, [...ascii("Exif"), 0, 0], exif));
  const size = 65000, parts = Math.ceil((icc?.length ?? 0) / size);
  for (let i = 0; i < parts; i++) {
    extra.push(segment(0xe2, [...ascii("ICC_PROFILE"), 0, i + 1, parts], icc.subarray(i * size, (i + 1) * size)));
  }
  // After the JFIF segment, if the encoder wrote one; without the profile that the encoder may have written.
  let at = 2;
  const kept = [];
  while (bytes[at] === 0xff && bytes[at + 1] >= 0xe0 && bytes[at + 1] <= 0xef) {
    const length = 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
    if (bytes[at + 1] === 0xe0) kept.push(bytes.subarray(at, at + length));
    at += length;
  }
  return joined([bytes.subarray(0, 2), ...kept, ...extra, bytes.subarray(at)]);
}

async function withPng(bytes, exif, icc) {
  const parts = [bytes.subarray(0, 8)];
  for (const { kind, whole } of chunks(bytes)) {
    if (icc && ["iCCP", "sRGB", "gAMA", "cHRM"].includes(kind)) continue;
    parts.push(whole);
    if (kind !== "IHDR") continue;
    if (icc) {
      const stream = new Blob([icc]).stream().pipeThrough(new CompressionStream("deflate"));
      const packed = new Uint8Array(await new Response(stream).arrayBuffer());
      parts.push(chunk("iCCP", joined([new TextEncoder().encode("ICC profile\0\0"), packed])));
    }
    if (exif) parts.push(chunk("eXIf", exif));
  }
  return joined(parts);
}

function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    yield { kind: text(bytes, at + 4, at + 8), body: bytes.subarray(at + 8, at + 8 + length), whole: bytes.subarray(at, at + 12 + length) };
    at += 12 + length;
  }
}

function chunk(kind, body) {
  const out = new Uint8Array(12 + body.length), view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  out.set(new TextEncoder().encode(kind), 4);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}
