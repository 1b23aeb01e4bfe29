// Pieces of a file's bytes, read and put together.

export const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

export const ascii = (word) => Uint8Array.from(word, (letter) => letter.charCodeAt(0));

export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// The bytes of `parts`: byte arrays, or arrays of numbers.
export function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

const through = async (bytes, stream) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
export const deflated = (bytes) => through(bytes, new CompressionStream("deflate"));
export const inflated = (bytes) => through(bytes, new DecompressionStream("deflate"));

const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

export function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRCS[(crc ^ byte) & 255];
  return ~crc >>> 0;
}
