// An image of any size through a network with a finite receptive field, in tiles that equal the full frame exactly
// (the same arithmetic as golfdeblur.tiles in Python).

// The stretches that cover `length` pixels: what to read, and what of the result to keep.
export function spans(length, core, overlap) {
  const found = [];
  for (let start = 0; start < length; start += core) {
    const stop = Math.min(start + core, length);
    found.push({ low: Math.max(0, start - overlap), high: Math.min(length, stop + overlap), start, stop });
  }
  return found;
}

// Where a pixel beyond the border is taken from: the image mirrored, the border pixel twice.
const mirrored = (index, length) => {
  const place = index % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
};

// Applies `network`, from (1, 3, h, w) to the same, to planes of 3 * height * width floats. `tilePx` bounds a tile's
// pixels; `step` is told of every tile done and may throw to stop.
export async function runTiled(network, planes, width, height, { multiple, overlap, tilePx, step }) {
  const up = (n) => Math.ceil(n / multiple) * multiple;
  const fullWidth = up(width), fullHeight = up(height), reach = up(overlap);
  const side = Math.max(multiple, Math.floor((Math.sqrt(tilePx) - 2 * reach) / multiple) * multiple);
  const whole = fullWidth * fullHeight <= tilePx;
  const rows = spans(fullHeight, whole ? fullHeight : side, reach);
  const columns = spans(fullWidth, whole ? fullWidth : side, reach);
  const out = new Float32Array(planes.length);
  let done = 0;
  for (const row of rows) for (const column of columns) {
    const h = row.high - row.low, w = column.high - column.low;
    const tile = new Float32Array(3 * h * w);
    for (let c = 0, at = 0; c < 3; c++) for (let y = row.low; y < row.high; y++) {
      const from = (c * height + mirrored(y, height)) * width;
      for (let x = column.low; x < column.high; x++) tile[at++] = planes[from + (x < width ? x : mirrored(x, width))];
    }
    const made = await network(tile, h, w);
    for (let c = 0; c < 3; c++) for (let y = row.start; y < Math.min(row.stop, height); y++) {
      const from = (c * h + y - row.low) * w - column.low;
      const stop = Math.min(column.stop, width);
      out.set(made.subarray(from + column.start, from + stop), (c * height + y) * width + column.start);
    }
    done += 1;
    await step(done / (rows.length * columns.length));
  }
  return out;
}
