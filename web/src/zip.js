// A ZIP of files as they are: photos are compressed already.
import { ascii, crc32, joined, viewOf } from "./bytes.js";

const UTF8 = 0x800;

// The ZIP, a Blob, of [{ name, blob }], with names made different where they are the same.
export async function zip(files) {
  const parts = [], directory = [], seen = new Map();
  let offset = 0;
  for (const { name, blob } of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer()), path = new TextEncoder().encode(different(name, seen));
    const fields = new Uint8Array(26), view = viewOf(fields);
    [20, UTF8, 0, 0, 0x21].forEach((value, i) => view.setUint16(2 * i, value, true)); // version, flags, stored, time and date
    [crc32(bytes), bytes.length, bytes.length].forEach((value, i) => view.setUint32(10 + 4 * i, value, true));
    view.setUint16(22, path.length, true);
    const where = new Uint8Array(14);
    viewOf(where).setUint32(10, offset, true);
    directory.push(joined([ascii("PK\x01\x02"), [20, 0], fields, where, path]));
    const head = joined([ascii("PK\x03\x04"), fields, path]);
    parts.push(head, blob);
    offset += head.length + bytes.length;
  }
  const end = new Uint8Array(22), view = viewOf(end), size = directory.reduce((sum, entry) => sum + entry.length, 0);
  end.set(ascii("PK\x05\x06"));
  [8, 10].forEach((at) => view.setUint16(at, files.length, true));
  view.setUint32(12, size, true);
  view.setUint32(16, offset, true);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function different(name, seen) {
  const times = (seen.get(name) ?? 0) + 1;
  seen.set(name, times);
  return times === 1 ? name : name.replace(/(\.[^.]*)?$/, (end) => `-${times}${end}`);
}
