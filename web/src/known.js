// A small known picture: what the networks make of it is computed when the page is built, and compared before WebGPU
// is trusted with a photo.

export const KNOWN_PX = 64;
const EVERY = 37; // of the result's numbers, one in so many is kept
const TOLERANCE = 0.5 / 255;

// (1, channels, 64, 64): waves of different length in each channel, in [0, 1].
export function knownPicture(channels) {
  return Float32Array.from({ length: channels * KNOWN_PX ** 2 }, (_, i) => {
    const c = Math.floor(i / KNOWN_PX ** 2), y = Math.floor(i / KNOWN_PX) % KNOWN_PX, x = i % KNOWN_PX;
    return 0.5 + 0.5 * Math.sin((c + 2) * 0.11 * x + (5 - c) * 0.07 * y + c);
  });
}

export const sample = (result) => [...result].filter((_, i) => i % EVERY === 0).map((value) => +value.toFixed(5));

// Whether a result is the expected one, in the numbers kept; not a number is not.
export const agrees = (result, expected) => sample(result).every((value, i) => Math.abs(value - expected[i]) < TOLERANCE);
