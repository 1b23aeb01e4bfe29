import assert from "node:assert/strict";
import test from "node:test";
import { runTiled, spans } from "../src/tiles.js";

// Sees 8 px in each direction, works on cells of 4 px, and takes zeros outside.
async function neighbours(x, h, w) {
  const out = new Float32Array(x.length);
  for (let c = 0; c < 3; c++) for (let y = 0; y < h; y++) for (let i = 0; i < w; i++) for (const [dy, dx] of [[-8, 3], [0, 0], [8, -8]]) {
    const a = y + dy, b = i + dx;
    if (a >= 0 && a < h && b >= 0 && b < w) out[(c * h + y) * w + i] += x[(c * h + a) * w + b] * (2 + dx);
  }
  return out;
}

test("spans cover everything once", () => {
  const kept = spans(101, 32, 16).flatMap(({ start, stop }) => Array.from({ length: stop - start }, (_, i) => start + i));
  assert.deepEqual(kept, Array.from({ length: 101 }, (_, i) => i));
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

test("what `step` throws ends it, and the shares rise to 1", async () => {
  const shares = [];
  const options = { multiple: 4, overlap: 8, tilePx: 32 * 32 };
  const planes = new Float32Array(3 * 64 * 64);
  await runTiled(neighbours, planes, 64, 64, { ...options, step: (share) => { shares.push(share); } });
  assert.equal(shares.at(-1), 1);
  assert.deepEqual(shares, [...shares].sort((a, b) => a - b));
  await assert.rejects(runTiled(neighbours, planes, 64, 64, { ...options, step: () => { throw new Error("stop"); } }), /stop/);
});
