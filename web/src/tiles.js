// An image of any size through a network with a finite receptive field, in tiles that equal the full frame exactly
// (the same arithmetic as golfdeblur.engine in Python).

const whole = (length, multiple) => Math.ceil(length / multiple) * multiple;

// The stretches of `size` pixels that cover `length`, all of them whole cells: from `low` to `high` is read, from
// `start` to `stop` of the result is kept.
export function spans(length, size, overlap) {
  const found = [];
  for (let start = 0; start < length; start = found.at(-1).stop) {
    const low = Math.max(0, Math.min(start - overlap, length - size));
    const high = Math.min(low + size, length);
    found.push({ low, high, start, stop: high === length ? length : high - overlap });
  }
  return found;
}

const count = (length, size, overlap) => (size >= length ? 1 : Math.ceil((length - 2 * overlap) / (size - 2 * overlap)));

// The size of those tiles of at most `tilePx` pixels that read the fewest pixels in all; the smallest where none fits.
// A runtime keeps memory for every size that it has seen, so all have one.
export function bestTile(height, width, { tilePx, overlap, multiple }) {
  const smallest = 2 * overlap + multiple;
  const share = (length, parts) => Math.min(length, whole(Math.ceil((length + 2 * overlap * (parts - 1)) / parts), multiple));
  let best = { rows: Math.min(smallest, height), columns: Math.min(smallest, width) }, least = Infinity;
  for (let bands = 1; bands <= height / multiple; bands++) {
    const rows = share(height, bands);
    const widest = Math.floor(tilePx / rows / multiple) * multiple;
    if (widest < Math.min(smallest, width)) continue;
    const columns = share(width, count(width, widest, overlap));
    const read = count(height, rows, overlap) * rows * count(width, columns, overlap) * columns;
    if (read < least) [best, least] = [{ rows, columns }, read];
  }
  return best;
}

// Where a pixel beyond the border is taken from: the image mirrored, the border pixel twice.
const mirrored = (index, length) => {
  const place = index % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
};

// Applies `network`, from (1, channels, h, w) to (1, 3, h, w), to the planes of an image: 3 * height * width floats, or
// bytes, of which 255 is white. `tilePx` bounds a tile's pixels; `step` is told a tile's pixels before it is computed and
// may throw to stop. A network of several `scales` takes after the image what it adds itself to it at half the size,
// enlarged; further channels are zero.
export async function runTiled(network, planes, width, height, { scales = 1, ...options }) {
  if (scales === 1) return runScale(network, planes, width, height, options);
  const hint = await residual(network, halved(planes, width, height, options.multiple), scales - 1, options);
  return runScale(network, planes, width, height, { channels: 6, ...options, hint });
}

// The pixels of all tiles that runTiled computes, to tell how far it is.
export function pixelsRead(width, height, { scales = 1, multiple, overlap, tilePx }) {
  const [w, h] = [whole(width, multiple), whole(height, multiple)];
  const { rows, columns } = bestTile(h, w, { tilePx, overlap, multiple });
  const here = count(h, rows, overlap) * Math.min(rows, h) * count(w, columns, overlap) * Math.min(columns, w);
  return here + (scales > 1 ? pixelsRead(w / 2, h / 2, { scales: scales - 1, multiple, overlap, tilePx }) : 0);
}

// What `network` adds to an image, with what it adds at half the size as a hint.
async function residual(network, { planes, width, height }, scales, options) {
  const hint = scales > 1
    ? await residual(network, halved(planes, width, height, options.multiple), scales - 1, options)
    : new Float32Array(3 * whole(width, options.multiple) * whole(height, options.multiple) / 4);
  const made = await runScale(network, planes, width, height, { channels: 6, ...options, hint });
  for (let i = 0; i < made.length; i++) made[i] -= planes[i];
  return made;
}

const SHARES = Float32Array.from({ length: 256 }, (_, byte) => byte / 255);
const reader = (planes) => (planes instanceof Float32Array ? (i) => planes[i] : (i) => SHARES[planes[i]]);

// The image, continued to cells of `multiple` pixels, at half the size: the mean of every four pixels, rounded as the
// command rounds it: a mean of 8-bit values often lies midway between two steps of an 8-bit network.
export function halved(planes, width, height, multiple) {
  const half = (length) => Math.ceil(length / multiple) * multiple / 2;
  const w = half(width), h = half(height), out = new Float32Array(3 * w * h), value = reader(planes);
  for (let c = 0, at = 0; c < 3; c++) for (let y = 0; y < h; y++) {
    const rows = [2 * y, 2 * y + 1].map((row) => (c * height + mirrored(row, height)) * width);
    for (let x = 0; x < w; x++) {
      const a = mirrored(2 * x, width), b = mirrored(2 * x + 1, width);
      const left = Math.fround(value(rows[0] + a) + value(rows[1] + a));
      out[at++] = Math.fround(left + Math.fround(value(rows[0] + b) + value(rows[1] + b))) / 4;
    }
  }
  return { planes: out, width: w, height: h };
}

// The rows and columns of an image's tiles, and its size in whole cells.
function grid(width, height, { multiple, overlap, tilePx }) {
  const fullWidth = whole(width, multiple), fullHeight = whole(height, multiple);
  const tile = bestTile(fullHeight, fullWidth, { tilePx, overlap, multiple });
  return { fullWidth, fullHeight, rows: spans(fullHeight, tile.rows, overlap), columns: spans(fullWidth, tile.columns, overlap) };
}

async function runScale(network, planes, width, height, { step, hint, channels = 3, ...options }) {
  const { fullWidth, fullHeight, rows, columns } = grid(width, height, options);
  const out = new Float32Array(planes.length), value = reader(planes);
  for (const row of rows) for (const column of columns) {
    const h = row.high - row.low, w = column.high - column.low;
    await step(h * w);
    const given = new Float32Array(channels * h * w);
    let at = 0;
    for (let c = 0; c < 3; c++) for (let y = row.low; y < row.high; y++) {
      const from = (c * height + mirrored(y, height)) * width;
      for (let x = column.low; x < column.high; x++) given[at++] = value(from + (x < width ? x : mirrored(x, width)));
    }
    for (let c = 0; hint && c < 3; c++) for (let y = row.low; y < row.high; y++) {
      const from = (c * fullHeight / 2 + (y >> 1)) * fullWidth / 2;
      for (let x = column.low; x < column.high; x++) given[at++] = hint[from + (x >> 1)];
    }
    keepTile(await network(given, h, w), row, column, { out, width, height, top: 0, rows: height });
  }
  return out;
}

// Puts what is kept of a tile into `out`, planes of `rows` rows that begin at row `top` of the image.
function keepTile(made, row, column, { out, width, height, top, rows }) {
  const h = row.high - row.low, w = column.high - column.low, stop = Math.min(column.stop, width);
  for (let c = 0; c < 3; c++) for (let y = row.start; y < Math.min(row.stop, height); y++) {
    const from = (c * h + y - row.low) * w - column.low;
    out.set(made.subarray(from + column.start, from + stop), (c * rows + y - top) * width + column.start);
  }
}

// Applies `network`, of one scale, to `planes` in place, which saves as much memory as they take: of a band of tiles that
// is done, the rows that the next one overlaps are remembered as they were. Returns the mean change.
export async function runInPlace(network, planes, width, height, { step, ...options }) {
  const { rows, columns } = grid(width, height, options);
  let was = { from: 0, to: 0, rows: [] }, change = 0; // rows `from` to `to` before they were written, in each plane
  const rowOf = (c, y) => (y < was.to ? was.rows[c].subarray((y - was.from) * width) : planes.subarray((c * height + y) * width));
  for (const [index, row] of rows.entries()) {
    const top = row.start, bottom = Math.min(row.stop, height), band = new Float32Array(3 * width * (bottom - top));
    for (const column of columns) {
      const h = row.high - row.low, w = column.high - column.low, given = new Float32Array(3 * h * w);
      await step(h * w);
      let at = 0;
      for (let c = 0; c < 3; c++) for (let y = row.low; y < row.high; y++) {
        const line = rowOf(c, mirrored(y, height));
        for (let x = column.low; x < column.high; x++) given[at++] = line[x < width ? x : mirrored(x, width)];
      }
      keepTile(await network(given, h, w), row, column, { out: band, width, height, top, rows: bottom - top });
    }
    const from = Math.min(rows[index + 1]?.low ?? bottom, bottom), kept = [];
    for (let c = 0; c < 3; c++) {
      kept.push(new Float32Array((bottom - from) * width));
      for (let y = from; y < bottom; y++) kept[c].set(rowOf(c, y).subarray(0, width), (y - from) * width);
      for (let y = top; y < bottom; y++) {
        const made = band.subarray((c * (bottom - top) + y - top) * width), line = planes.subarray((c * height + y) * width);
        for (let x = 0; x < width; x++) { change += Math.abs(made[x] - line[x]); line[x] = made[x]; }
      }
    }
    was = { from, to: bottom, rows: kept };
  }
  return change / planes.length;
}
