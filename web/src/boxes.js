// AVIF and HEIC: the boxes of ISO 14496-12 that hold the profile, EXIF and XMP.
import { text, viewOf } from "./bytes.js";

// The boxes of a stretch of bytes: { kind, body }.
function* boxes(bytes) {
  const view = viewOf(bytes);
  for (let at = 0; at + 8 <= bytes.length;) {
    const given = view.getUint32(at), head = given === 1 ? 16 : 8;
    const length = given === 0 ? bytes.length - at : given === 1 ? Number(view.getBigUint64(at + 8)) : given;
    if (length < head) return;
    yield { kind: text(bytes, at + 4, at + 8), body: bytes.subarray(at + head, at + length) };
    at += length;
  }
}

const inside = (bytes, wanted) => [...boxes(bytes)].find(({ kind }) => kind === wanted)?.body;
const full = (body) => body?.subarray(4); // without version and flags

// Adds exif, icc, xmp and bits to `found`.
export function readBoxes(bytes, found) {
  const meta = full(inside(bytes, "meta"));
  if (!meta) return;
  const properties = inside(inside(meta, "iprp") ?? meta.subarray(0, 0), "ipco");
  for (const { kind, body } of properties ? boxes(properties) : []) {
    const how = kind === "colr" && text(body, 0, 4);
    if (how === "prof" || how === "rICC") found.icc ??= body.slice(4);
    if (kind === "pixi") found.bits ??= Math.max(...body.subarray(5, 5 + body[4]));
  }
  const kinds = itemKinds(inside(meta, "iinf")), places = itemPlaces(inside(meta, "iloc"), inside(meta, "idat"), bytes);
  for (const [id, kind] of kinds) {
    const content = places.get(id);
    if (!content?.length) continue;
    if (kind === "Exif") found.exif ??= content.slice(4 + viewOf(content).getUint32(0)); // the offset of its TIFF block comes first
    if (kind === "mime application/rdf+xml") found.xmp ??= content.slice();
  }
}

function itemKinds(iinf) {
  const found = new Map();
  if (!iinf) return found;
  for (const { kind, body } of boxes(iinf.subarray(iinf[0] === 0 ? 6 : 8))) {
    if (kind !== "infe" || body[0] < 2) continue;
    const wide = body[0] === 3 ? 2 : 0, view = viewOf(body), type = text(body, 8 + wide, 12 + wide);
    const words = text(body, 12 + wide, Math.min(body.length, 200)).split("\0"); // the item's name, its content's type
    found.set(wide ? view.getUint32(4) : view.getUint16(4), type === "mime" ? `mime ${words[1]}` : type);
  }
  return found;
}

function itemPlaces(iloc, idat, bytes) {
  const found = new Map();
  if (!iloc) return found;
  const view = viewOf(iloc), version = iloc[0];
  let at = 6;
  const number = (size) => {
    const value = { 0: () => 0, 2: () => view.getUint16(at), 4: () => view.getUint32(at), 8: () => Number(view.getBigUint64(at)) }[size]();
    at += size;
    return value;
  };
  const [offsetSize, lengthSize, baseSize, indexSize] = [iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, version ? iloc[5] & 15 : 0];
  for (let items = number(version < 2 ? 2 : 4); items > 0; items--) {
    const id = number(version < 2 ? 2 : 4), from = version ? number(2) & 15 : 0;
    number(2); // which file
    const base = number(baseSize), parts = [];
    for (let extents = number(2); extents > 0; extents--) {
      number(indexSize);
      const start = base + number(offsetSize), length = number(lengthSize);
      parts.push((from === 1 ? idat ?? bytes.subarray(0, 0) : bytes).subarray(start, start + length));
    }
    if (parts.length === 1) found.set(id, parts[0]);
  }
  return found;
}
