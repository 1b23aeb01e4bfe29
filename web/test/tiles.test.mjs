import assert from "node:assert/strict";
import test from "node:test";
import { bestTile, halved, pixelsRead, runInPlace, runTiled, spans } from "../src/tiles.js";

// Sees 8 px in each direction, works on cells of 4 px, and takes zeros outside.
async function neighbours(x, h, w) {
  const out = new Float32Array(x.length);
  for (let c = 0; c < 3; c++) for (let y = 0; y < h; y++) for (let i = 0; i < w; i++) for (const [dy, dx] of [[-8, 3], [0, 0], [8, -8]]) {
    const a = y + dy, b = i + dx;
    if (a >= 0 && a < h && b >= 0 && b < w) out[(c * h + y) * w + i] += x[(c * h + a) * w + b] * (2 + dx);
  }
  return out;
}

for (const [length, size] of [[104, 48], [104, 40], [104, 104], [400, 56]]) {
  test(`spans of one size cover everything once, ${length} in ${size}`, () => {
    const found = spans(length, size, 16);
    const kept = found.flatMap(({ start, stop }) => Array.from({ length: stop - start }, (_, i) => start + i));
    assert.deepEqual(kept, Array.from({ length }, (_, i) => i));
    for (const { low, high, start, stop } of found) {
      assert.equal(high - low, size);
      assert.ok(low === 0 || start - low >= 16);
      assert.ok(high === length || high - stop >= 16);
    }
  });
}

test("the best tiles are those of the command", () => {
  const best = (height, width, tilePx) => bestTile(height, width, { tilePx, overlap: 96, multiple: 16 });
  assert.deepEqual(best(3008, 4000, 1_440_000), { rows: 1136, columns: 1152 }); // as golfdeblur.engine.tiles.best_tile has them
  assert.deepEqual(best(1280, 1920, 1_440_000), { rows: 1280, columns: 1056 });
  assert.deepEqual(best(720, 1280, 490_000), { rows: 720, columns: 560 });
  assert.deepEqual(best(720, 1280, 1_440_000), { rows: 720, columns: 1280 });
  assert.deepEqual(best(400, 400, 64), { rows: 208, columns: 208 });
});

for (const [width, height] of [[64, 48], [101, 77], [1, 1], [3, 200]]) {
  test(`tiles equal the full frame, ${width} x ${height}`, async () => {
    const planes = Float32Array.from({ length: 3 * width * height }, (_, i) => Math.sin(i * 12.9898) * 43758.5453 % 1);
    const run = (tilePx) => runTiled(neighbours, planes, width, height, { multiple: 4, overlap: 8, tilePx, step: () => {} });
    const whole = await run(1e9);
    assert.equal(whole.length, planes.length);
    for (const tilePx of [32 * 32, 40 * 40]) assert.deepEqual(await run(tilePx), whole);
  });
}

// The same with a hint: adds it to the image, and to what it sees of its neighbours.
async function hinted(x, h, w) {
  assert.equal(x.length, 6 * h * w);
  const [seen, hint] = await Promise.all([neighbours(x.subarray(0, 3 * h * w), h, w), neighbours(x.subarray(3 * h * w), h, w)]);
  return seen.map((value, i) => value / 8 - hint[i] / 16);
}

for (const scales of [2, 3, 4]) {
  test(`${scales} scales in tiles equal the full frame`, async () => {
    const [width, height] = [101, 77];
    const planes = Float32Array.from({ length: 3 * width * height }, (_, i) => Math.sin(i * 12.9898) * 43758.5453 % 1);
    const multiple = 8;
    let told = 0;
    const run = (tilePx) => runTiled(hinted, planes, width, height, { multiple, overlap: 8, tilePx, scales, step: (pixels) => { told += pixels; } });
    const whole = await run(1e9);
    for (const tilePx of [48 * 48, 64 * 64]) {
      told = 0;
      assert.deepEqual(await run(tilePx), whole);
      assert.equal(told, pixelsRead(width, height, { scales, multiple, overlap: 8, tilePx }));
    }
    // By hand, for two scales: the padded image, its half, continued in turn, and what the network adds to that.
    if (scales > 2) return;
    const mirror = (at, length) => (at < length ? at : 2 * length - 1 - at);
    const half = halved(planes, width, height, multiple);
    const [w, h] = [56, 40];
    assert.deepEqual([half.width, half.height], [52, 40]);
    const zeros = new Float32Array(6 * w * h);
    for (let c = 0, i = 0; c < 3; c++) for (let y = 0; y < h; y++) for (let x = 0; x < w; x++, i++) {
      zeros[i] = half.planes[(c * half.height + y) * half.width + mirror(x, half.width)];
    }
    const added = (await hinted(zeros, h, w)).map((value, i) => value - zeros[i]);
    const at = (c, y, x) => (c * height + y) * width + x;
    const full = [2 * half.width, 2 * half.height];
    const given = new Float32Array(6 * full[0] * full[1]);
    for (let c = 0, i = 0; c < 6; c++) for (let y = 0; y < full[1]; y++) for (let x = 0; x < full[0]; x++, i++) {
      const [my, mx] = [mirror(y, height), mirror(x, width)];
      given[i] = c < 3 ? planes[at(c, my, mx)] : added[((c - 3) * h + (y >> 1)) * w + (x >> 1)];
    }
    const made = await hinted(given, full[1], full[0]);
    for (const [c, y, x] of [[0, 0, 0], [1, 40, 50], [2, 76, 100]]) {
      assert.equal(whole[at(c, y, x)], made[(c * full[1] + y) * full[0] + x]);
    }
  });
}

test("what `step` throws ends it", async () => {
  const planes = new Float32Array(3 * 64 * 64);
  const options = { multiple: 4, overlap: 8, tilePx: 32 * 32, step: () => { throw new Error("stop"); } };
  await assert.rejects(runTiled(neighbours, planes, 64, 64, options), /stop/);
});

test("bytes are shares of 255, and further channels are zero", async () => {
  const bytes = Uint8Array.from({ length: 3 * 40 * 24 }, (_, i) => (i * 37) % 256);
  const options = { multiple: 4, overlap: 8, tilePx: 32 * 32, scales: 2, step: () => {} };
  const expected = await runTiled(hinted, Float32Array.from(bytes, (byte) => byte / 255), 40, 24, options);
  const eight = (x, h, w) => {
    assert.equal(x.length, 8 * h * w);
    assert.ok(x.subarray(6 * h * w).every((value) => value === 0));
    return hinted(x.subarray(0, 6 * h * w), h, w);
  };
  assert.deepEqual(await runTiled(eight, bytes, 40, 24, { ...options, channels: 8 }), expected);
});

for (const [width, height] of [[64, 48], [101, 77], [1, 1], [3, 200], [70, 9]]) {
  test(`in place it is the same, ${width} x ${height}`, async () => {
    const planes = Float32Array.from({ length: 3 * width * height }, (_, i) => Math.sin(i * 12.9898) * 43758.5453 % 1);
    for (const tilePx of [32 * 32, 24 * 80, 1e9]) {
      const options = { multiple: 4, overlap: 8, tilePx, step: () => {} };
      const expected = await runTiled(neighbours, planes, width, height, options), x = planes.slice();
      const change = await runInPlace(neighbours, x, width, height, options);
      assert.deepEqual(x, expected);
      assert.ok(Math.abs(change - planes.reduce((sum, value, i) => sum + Math.abs(value - expected[i]), 0) / planes.length) < 1e-6);
    }
  });
}
