// WebGPU's convolution is wrong for 6 and 9 input channels and right for 8 (microsoft/onnxruntime#29651), so a network
// that takes 6 gets two more, which count for nothing: its input and its first convolution's weights are widened with zeros.
// An ONNX file is a protobuf: a message is a list of fields, each a number, a kind and a value.

const VARINT = 0, FIXED_64 = 1, BYTES = 2, FIXED_32 = 5;
const GRAPH = 7, INITIALIZER = 5, INPUT = 11; // fields of ModelProto and GraphProto
const DIMS = 1, RAW_DATA = 9; // of TensorProto
const TYPE = 2, TENSOR_TYPE = 1, SHAPE = 2, DIM = 1, DIM_VALUE = 1; // of ValueInfoProto and what it holds

function read(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, weight = 1, byte;
    do { byte = bytes[at++]; value += (byte & 127) * weight; weight *= 128; } while (byte > 127);
    return value;
  };
  const take = (length) => bytes.subarray(at, at += length);
  const fields = [];
  while (at < bytes.length) {
    const tag = varint(), number = Math.floor(tag / 8), kind = tag % 8;
    const value = kind === VARINT ? varint() : take(kind === BYTES ? varint() : { [FIXED_64]: 8, [FIXED_32]: 4 }[kind]);
    fields.push({ number, kind, value });
  }
  return fields;
}

function write(fields) {
  const varint = (value) => {
    const out = [];
    for (; value > 127; value = Math.floor(value / 128)) out.push(value % 128 + 128);
    return Buffer.from([...out, value]);
  };
  return Buffer.concat(fields.flatMap(({ number, kind, value }) => [
    varint(8 * number + kind), ...(kind === VARINT ? [varint(value)] : kind === BYTES ? [varint(value.length), value] : [value]),
  ]));
}

// Returns the message with `change` applied to its fields of that number; inside them, where more numbers follow.
function edited(bytes, [number, ...inside], change) {
  const one = (field) => ({ ...field, value: inside.length ? edited(field.value, inside, change) : change(field.value) });
  return write(read(bytes).map((field) => (field.number === number ? one(field) : field)));
}

// Returns the ONNX file `bytes` for `wanted` input channels instead of `given`.
export function padChannels(bytes, given, wanted) {
  const input = edited(bytes, [GRAPH, INPUT, TYPE, TENSOR_TYPE, SHAPE, DIM, DIM_VALUE], (size) => (size === given ? wanted : size));
  let changed = 0;
  const out = edited(input, [GRAPH, INITIALIZER], (tensor) => {
    const fields = read(tensor);
    const dims = fields.filter((field) => field.number === DIMS).flatMap(({ kind, value }) => (kind === VARINT ? [value] : [...value]));
    if (changed || dims.length !== 4 || dims[1] !== given) return tensor;
    changed += 1;
    const raw = fields.find((field) => field.number === RAW_DATA).value;
    const [kernels, , height, width] = dims, kernel = 4 * height * width; // bytes of float32
    const wide = Buffer.alloc(kernels * wanted * kernel);
    for (let k = 0; k < kernels; k++) wide.set(raw.subarray(k * given * kernel, (k + 1) * given * kernel), k * wanted * kernel);
    const rest = fields.filter((field) => ![DIMS, RAW_DATA].includes(field.number));
    const sizes = [kernels, wanted, height, width].map((value) => ({ number: DIMS, kind: VARINT, value }));
    return write([...sizes, ...rest, { number: RAW_DATA, kind: BYTES, value: wide }]);
  });
  if (changed !== 1) throw new Error(`No convolution of ${given} input channels was found; look at web/pad.mjs.`);
  return out;
}
