"use strict";
// The network of `charrnn sample` with its int8 weights, one character at a time.
//
// The same model, seed and options give the same text as `charrnn sample`, byte for byte:
// - sums of products are sums of integers below 2^24, which are exact in any order;
// - everything else is one operation of float32 or float64 after the other, in the order of charrnn. JavaScript
//   computes in float64; `f32` rounds a sum, a product or a quotient of two float32 to what float32 arithmetic gives;
// - exp and tanh are written out, because browsers differ in the last digits of theirs.
//
// Shapes: V vocabulary, H hidden, L layers, S state vectors per layer, R rows and C columns of a matrix, E embedding.

const f32 = Math.fround;
// 2^26, the distance of two sums that share a number: each is below 2^24.
const SHIFT = 67108864;
// 1.5 * 2^52: adding and subtracting it rounds |x| < 2^51 to an integer, halves to the even one.
const ROUND = 6755399441055744;
const rint = x => x + ROUND - ROUND;
// Inputs are scaled as if the largest were at least 2^-61.
const SMALLEST_EXPONENT = -60;

// tanh(x) = x P(x^2) / Q(x^2) on [-9, 9].
const [P0, P1, P2, P3, P4] = Float32Array.of(
  0.99999990636668, 0.13373198771542, 3.4865830984447e-3, 2.0471847671649e-5, 1.3184242806811e-8);
const [Q0, Q1, Q2, Q3, Q4] = Float32Array.of(
  1.0, 0.46706495638980, 2.5841983960394e-2, 3.2713872397441e-4, 7.7026722455669e-7);

const multiplyAdd = (x, y, z) => f32(f32(x * y) + z);

// Horner's scheme, written out: a loop over the coefficients costs a page a tenth of its speed.
function tanh(x) {
  let limited = x;
  if (x > 9) limited = 9;
  if (x < -9) limited = -9;
  const square = f32(limited * limited);
  let top = multiplyAdd(P4, square, P3);
  top = multiplyAdd(top, square, P2);
  top = multiplyAdd(top, square, P1);
  top = multiplyAdd(top, square, P0);
  let bottom = multiplyAdd(Q4, square, Q3);
  bottom = multiplyAdd(bottom, square, Q2);
  bottom = multiplyAdd(bottom, square, Q1);
  bottom = multiplyAdd(bottom, square, Q0);
  return f32(f32(limited * top) / bottom);
}

const sigmoid = x => multiplyAdd(0.5, tanh(f32(0.5 * x)), 0.5);

// exp(x) for x <= 0 in float64: 2^k times the Taylor polynomial of the rest. ln 2 is the sum of two numbers, of which
// the high one has so few bits that its products are exact.
const INVERSE_LN2 = 1.4426950408889634;
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
const TAYLOR = [1, 1];
let factorial = 1;
for (let n = 2; n < 14; n++) {
  factorial *= n;
  TAYLOR.push(1 / factorial);
}

function exp(x) {
  if (x < -700) return 0;
  const power = rint(x * INVERSE_LN2);
  const rest = x - power * LN2_HIGH - power * LN2_LOW;
  let total = TAYLOR[13];
  for (let n = 12; n >= 0; n--) total = total * rest + TAYLOR[n];
  return total * powerOfTwo(power);
}

// The bits of a number of float64: sign, 11 bits of exponent, mantissa.
const bits64 = new DataView(new ArrayBuffer(8));

// For exponents from -1022 to 1023.
function powerOfTwo(exponent) {
  bits64.setInt32(0, (exponent + 1023) << 20);
  bits64.setInt32(4, 0);
  return bits64.getFloat64(0);
}

// The exponent of x > 0 as frexp gives it: x is in [2^(e - 1), 2^e).
function exponentOf(x) {
  bits64.setFloat64(0, x);
  return (bits64.getInt32(0) >>> 20) - 1022;
}

// The largest |x| among `count` numbers from `begin`.
function largestOf(numbers, begin, count) {
  let largest = 0;
  for (let i = begin; i < begin + count; i++) largest = Math.max(largest, Math.abs(numbers[i]));
  return largest;
}

// A weight (R, C) of 8-bit integers with a scale per row, and a bias. `bits` are those of the rounded inputs.
class Matrix {
  constructor({values, scale, bias, bits, columns}) {
    Object.assign(this, {scale, bias, bits, columns});
    this.numRows = scale.length;
    // One number holds the weights of two rows, w + 2^26 w', and so one product of float64 makes two exact sums.
    // Four such numbers stand together for each column.
    this.numGroups = Math.ceil(this.numRows / 8);
    this.pairs = new Float64Array(this.numGroups * columns * 4);
    for (let row = 0; row < this.numRows; row++) {
      const factor = row % 2 ? SHIFT : 1;
      const first = (row >> 3) * columns * 4 + (row % 8 >> 1);
      for (let column = 0; column < columns; column++) {
        this.pairs[first + 4 * column] += factor * values[row * columns + column];
      }
    }
    this.rounded = new Float64Array(columns);
    this.sums = new Float64Array(8 * this.numGroups);
  }

  // Compute out (R,) = x (C,) @ weight.T + bias.
  product(x, out) {
    const {numRows, columns, bits, scale, bias, rounded, sums} = this;
    // Inputs become integers of so many bits by a power of two, which changes no digit of them.
    const exponent = Math.max(exponentOf(largestOf(x, 0, columns)), SMALLEST_EXPONENT);
    const up = powerOfTwo(bits - exponent);
    for (let column = 0; column < columns; column++) rounded[column] = rint(x[column] * up);
    this.sum();
    const down = powerOfTwo(exponent - bits);
    for (let row = 0; row < numRows; row++) out[row] = f32(f32(sums[row] * f32(scale[row] * down)) + bias[row]);
  }

  sum() {
    const {numGroups, columns, pairs, rounded, sums} = this;
    let at = 0;
    for (let group = 0; group < numGroups; group++) {
      // Four variables, because a loop over them would be several times slower.
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      for (let column = 0; column < columns; column++) {
        const x = rounded[column];
        a += pairs[at] * x;
        b += pairs[at + 1] * x;
        c += pairs[at + 2] * x;
        d += pairs[at + 3] * x;
        at += 4;
      }
      split(a, sums, 8 * group);
      split(b, sums, 8 * group + 2);
      split(c, sums, 8 * group + 4);
      split(d, sums, 8 * group + 6);
    }
  }
}

function split(pair, sums, at) {
  const high = rint(pair / SHIFT);
  sums[at] = pair - high * SHIFT;
  sums[at + 1] = high;
}

// The input products of the first layer (V, R), a row per character: embedding (V, E) @ weight (R, E).T + bias.
function makeTable({embedding, weight_ih, bias_ih}, size, bits) {
  const numRows = bias_ih.length;
  const numEntries = embedding.length / size;
  const table = new Float32Array(numEntries * numRows);
  // Each value is split into two integers of so few bits that every sum of their products is exact (Ozaki et al. 2012).
  const scale = powerOfTwo(-bits);
  const x = splitRows(embedding, size, bits);
  const w = splitRows(weight_ih, size, bits);
  for (let entry = 0; entry < numEntries; entry++) {
    for (let row = 0; row < numRows; row++) {
      let high = 0;
      let crossed = 0;
      let mixed = 0;
      let low = 0;
      for (let k = 0; k < size; k++) {
        const i = entry * size + k;
        const j = row * size + k;
        high += x.high[i] * w.high[j];
        crossed += x.high[i] * w.low[j];
        mixed += x.low[i] * w.high[j];
        low += x.low[i] * w.low[j];
      }
      const total = high + (crossed + mixed + low * scale) * scale;
      const unit = powerOfTwo(x.exponents[entry] + w.exponents[row] - 2 * bits);
      table[entry * numRows + row] = total * unit + bias_ih[row];
    }
  }
  return table;
}

function splitRows(values, size, bits) {
  const high = new Float64Array(values.length);
  const low = new Float64Array(values.length);
  const exponents = [];
  const again = powerOfTwo(bits);
  for (let begin = 0; begin < values.length; begin += size) {
    const largest = largestOf(values, begin, size);
    const exponent = largest > 0 ? exponentOf(largest) : 0;
    exponents.push(exponent);
    const up = powerOfTwo(bits - exponent);
    for (let i = begin; i < begin + size; i++) {
      const scaled = values[i] * up;
      high[i] = rint(scaled);
      low[i] = rint((scaled - high[i]) * again);
    }
  }
  return {high, low, exponents};
}

// The equations of the cell types: x (X*H,) and u (P*H,) are the products with the input and with h, biases included;
// h (H,) and c (H,) change in place. `clamp` sets the clamped units of a memory.
const CELLS = {
  lstm(x, u, h, c, size, clamp) {
    for (let j = 0; j < size; j++) {
      const input = sigmoid(f32(x[j] + u[j]));
      const forget = sigmoid(f32(x[size + j] + u[size + j]));
      const candidate = tanh(f32(x[2 * size + j] + u[2 * size + j]));
      c[j] = f32(forget * c[j]) + f32(input * candidate);
    }
    // Before the output, which depends on the memory.
    clamp(c);
    for (let j = 0; j < size; j++) {
      const output = sigmoid(f32(x[3 * size + j] + u[3 * size + j]));
      h[j] = output * tanh(c[j]);
    }
  },

  gru(x, u, h, c, size, clamp) {
    for (let j = 0; j < size; j++) {
      const reset = sigmoid(f32(x[j] + u[j]));
      const update = sigmoid(f32(x[size + j] + u[size + j]));
      const candidate = tanh(f32(x[2 * size + j] + f32(reset * u[2 * size + j])));
      h[j] = candidate + f32(update * f32(h[j] - candidate));
    }
    clamp(h);
  },

  rnn(x, u, h, c, size, clamp) {
    for (let j = 0; j < size; j++) h[j] = tanh(f32(x[j] + u[j]));
    clamp(h);
  },
};

function add(sums, values) {
  for (let i = 0; i < sums.length; i++) sums[i] += values[i];
}

// A model as `charrnn export` describes it, with its arrays by name.
class Network {
  constructor(model, arrays) {
    this.size = model.hidden_size;
    this.numStates = model.num_states;
    this.endId = model.end_id;
    this.cell = CELLS[model.cell_type];
    this.isResidual = model.depth === "residual";
    this.isSummed = model.sum_outputs;
    this.kept = f32(1 - f32(model.zoneout));
    this.vocabSize = model.characters.length;

    const matrix = name => new Matrix({
      ...model.matrices[name],
      values: arrays[name],
      scale: arrays[name + ".scale"],
      bias: arrays[name + ".bias"],
    });
    // The first layer has a row of a table for each character in place of a product with its input.
    this.layers = Array.from({length: model.num_layers}, (_, layer) => ({
      input: layer > 0 ? matrix(`layers.${layer}.input`) : null,
      recurrent: matrix(`layers.${layer}.recurrent`),
    }));
    this.output = matrix("output");
    this.table = arrays.table || makeTable(arrays, model.embedding_size, model.table_bits);
    this.inputWidth = this.table.length / this.vocabSize;
    this.learnedState = arrays.learned_state || new Float32Array(this.layers.length * this.numStates * this.size);
    // For each layer: unit to the value of its memory.
    this.clamps = this.layers.map(() => new Map());

    // Arrays that every step fills anew.
    this.x = new Float32Array(this.inputWidth);
    this.u = new Float32Array(this.layers[0].recurrent.numRows);
    this.below = new Float32Array(this.size);
    this.total = new Float32Array(this.size);
    this.old = new Float32Array(this.numStates * this.size);
  }

  initialState() {
    return this.learnedState.slice();
  }

  // Read ids after a state: return the state and the logits after them.
  read(ids, before) {
    const state = before.slice();
    const logits = new Float32Array(this.vocabSize);
    for (const id of ids) this.step(id, state, logits);
    return {state, logits};
  }

  // Read a character: the state (L, S, H) and the logits (V,) change in place.
  step(id, state, logits) {
    const {below, total} = this;
    if (id === this.endId) state.set(this.learnedState);
    for (let layer = 0; layer < this.layers.length; layer++) {
      const h = this.stepLayer(layer, id, state);
      if (layer > 0 && this.isResidual) add(below, h);
      else below.set(h);
      if (layer > 0 && this.isSummed) add(total, below);
      else total.set(below);
    }
    this.output.product(total, logits);
  }

  // Change the state of a layer, and return its h (H,).
  stepLayer(layer, id, state) {
    const {size, numStates, inputWidth, x, u, old, kept} = this;
    const {input, recurrent} = this.layers[layer];
    const begin = layer * numStates * size;
    const own = state.subarray(begin, begin + numStates * size);
    const h = own.subarray(0, size);
    // The memory: h itself for a cell type that has no c.
    const c = own.subarray((numStates - 1) * size);
    const clamp = memory => {
      for (const [unit, value] of this.clamps[layer]) memory[unit] = value;
    };

    old.set(own);
    if (input) input.product(this.below, x);
    else x.set(this.table.subarray(id * inputWidth, (id + 1) * inputWidth));
    recurrent.product(h, u);
    this.cell(x, u, h, c, size, clamp);

    // Zoneout keeps a share of each state as it was.
    if (kept !== 1) {
      for (let j = 0; j < own.length; j++) own[j] = old[j] + f32(kept * f32(own[j] - old[j]));
      clamp(c);
    }
    return h;
  }

  // The value of every cell (L * H,), from a state: tanh(c), or h.
  values(state) {
    const {size, numStates, layers} = this;
    const values = new Float32Array(layers.length * size);
    for (let layer = 0; layer < layers.length; layer++) {
      const first = ((layer + 1) * numStates - 1) * size;
      values.set(state.subarray(first, first + size), layer * size);
    }
    // A loop, which is faster than `map`.
    if (numStates > 1) {
      for (let cell = 0; cell < values.length; cell++) values[cell] = tanh(values[cell]);
    }
    return values;
  }
}

// A hash of words of 32 bits, each of which changes its constant.
function makeHash(first, multiplier) {
  let constant = first;
  return word => {
    const mixed = word ^ constant;
    constant = Math.imul(constant, multiplier);
    const hashed = Math.imul(mixed, constant);
    return hashed ^ hashed >>> 16;
  };
}

// What numpy.random.SeedSequence makes of a seed: two numbers of 128 bits. What is above 32 bits of the seed is its
// spawn key, which follows four words.
function spreadSeed(seed) {
  const words = [];
  for (let rest = BigInt(seed); rest > 0n; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  if (words.length > 1) words.splice(1, 0, 0, 0, 0);

  // A pool of four words, into each of which all others and those of the spawn key are mixed.
  const hash = makeHash(0x43b0d7e5, 0x931e8875);
  const mix = (a, b) => {
    const word = Math.imul(a, 0xca01f9dd) - Math.imul(b, 0x4973f715) | 0;
    return word ^ word >>> 16;
  };
  const pool = [];
  for (let i = 0; i < 4; i++) pool.push(hash(words[i] || 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) {
      if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
    }
  }
  for (const word of words.slice(4)) {
    for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word));
  }

  // Eight words drawn from the pool: of 64 bits the lower half comes first, of 128 the upper one.
  const draw = makeHash(0x8b51f9dd, 0x58f38ded);
  const drawn = [...pool, ...pool].map(word => BigInt(draw(word) >>> 0));
  const long = i => drawn[2 * i] | drawn[2 * i + 1] << 32n;
  return [long(0) << 64n | long(1), long(2) << 64n | long(3)];
}

// Uniform numbers in [0, 1) as numpy.random.default_rng(seed).random() draws them: PCG64 (O'Neill 2014).
class Random {
  constructor(seed) {
    const [state, stream] = spreadSeed(seed);
    this.increment = BigInt.asUintN(128, stream << 1n | 1n);
    this.state = BigInt.asUintN(128, this.increment + state);
    this.advance();
  }

  advance() {
    this.state = BigInt.asUintN(128, this.state * 0x2360ed051fc65da44385df649fccf645n + this.increment);
  }

  next() {
    this.advance();
    const word = BigInt.asUintN(64, this.state >> 64n ^ this.state);
    const turn = this.state >> 122n;
    const turned = BigInt.asUintN(64, word >> turn | word << (64n - turn));
    // The upper 53 bits over 2^53.
    return Number(turned >> 11n) / 9007199254740992;
  }
}

// The probabilities (V,) of the next character up to a common factor, at a temperature above 0; 0 for banned ids.
// Return their sum.
function weigh(logits, temperature, isBanned, weights) {
  const best = logits[mostLikely(logits, isBanned)];
  let total = 0;
  for (let id = 0; id < logits.length; id++) {
    weights[id] = isBanned[id] ? 0 : exp((logits[id] - best) / temperature);
    total += weights[id];
  }
  return total;
}

function mostLikely(logits, isBanned) {
  let best = -1;
  for (let id = 0; id < logits.length; id++) {
    if (!isBanned[id] && (best < 0 || logits[id] > logits[best])) best = id;
  }
  return best;
}

// Draw one id by a uniform number in [0, 1); at temperature 0 the most likely one.
function draw(logits, temperature, isBanned, uniform, weights) {
  if (temperature === 0) return mostLikely(logits, isBanned);
  const target = uniform * weigh(logits, temperature, isBanned, weights);
  let reached = 0;
  let last = -1;
  for (let id = 0; id < logits.length; id++) {
    if (weights[id] > 0) {
      reached += weights[id];
      last = id;
      if (reached > target) break;
    }
  }
  return last;
}

// Matches characters that nobody sees, and the colours of a terminal.
const UNSEEN = /\x1b\[[\d;:?]*[A-Za-z]|[\u00ad\u200b\u200e\u200f\u2060\ufeff\0-\x08\x0b\x0c\x0e-\x1f]/g;

// The alphabet: text to ids and back.
class Alphabet {
  constructor(model) {
    this.characters = model.characters;
    this.isBytes = model.alphabet === "byte";
    this.ids = new Map(model.characters.map((character, id) => [character, id]));
    this.isBanned = new Uint8Array(model.characters.length);
    for (const id of model.banned) this.isBanned[id] = 1;
    this.readAs = new Map(Object.entries(model.read_as));
    this.composes = model.composes;
  }

  // A text as the model has read its own: without what nobody sees, and with each letter and its accents in one
  // character, as `text.cleaning.tidied` makes it.
  composed(text) {
    if (!this.composes) return text;
    const parted = text.replace(/\v/g, "\f").replace(/([^\n\f])\f(?=\f*[^\n\f])/g, "$1\n");
    return parted.replace(UNSEEN, "").normalize("NFC");
  }

  // The ids of each character, with the character. A curly quote is read as a straight one where the model knows only
  // that; other unknown characters and U+0000 are missing.
  encode(text) {
    const encoder = new TextEncoder();
    const typed = Array.from(text, character => this.readAs.get(character) ?? character).join("");
    const known = Array.from(typed).filter(character => this.knows(character));
    return known.map(character => ({
      character, ids: this.isBytes ? [...encoder.encode(character)] : [this.ids.get(character)],
    }));
  }

  knows(character) {
    return character !== "\0" && (this.isBytes || this.ids.has(character));
  }

  // A character of UTF-8 may end with a later byte than it begins with: `feed` keeps its first ones.
  decoder() {
    if (!this.isBytes) return {feed: id => this.characters[id] || "\ufffd", finish: () => ""};
    const decoder = new TextDecoder("utf-8", {ignoreBOM: true});
    return {feed: id => decoder.decode(new Uint8Array([id]), {stream: true}), finish: () => decoder.decode()};
  }
}

// Text after a prime, character by character, to the end of a document, to the first of `stops`, which are no part of it,
// or to `length` ids; with `words`, of these words alone, and a stop that would cut one does not count.
class Writer {
  constructor(network, alphabet, {state, logits, temperature, seed, length, words = null, prime = [], stops = []}) {
    Object.assign(this, {network, alphabet, temperature, length, words, stops});
    this.state = state.slice();
    this.logits = logits.slice();
    this.random = new Random(seed);
    this.decoder = alphabet.decoder();
    this.weights = new Float64Array(network.vocabSize);
    this.text = "";
    this.isDone = false;
    this.isForbidden = alphabet.isBanned.slice();
    const ids = prime.flatMap(one => one.ids);
    if (words) this.word = ids.reduce((word, id) => words.follow(word, id), words.between);
    // Places in the text at which no word may end.
    this.insideWords = new Set();
  }

  // Return the text of the id that is drawn; after the last one, what the decoder has kept.
  next() {
    const {network, words, isForbidden} = this;
    if (words && !this.word.isWhole) this.insideWords.add(this.text.length);
    const mayFollow = !words || words.forbid(this.word, this.alphabet.isBanned, isForbidden);
    let id = network.endId;
    if (this.length > 0 && mayFollow) {
      id = draw(this.logits, this.temperature, isForbidden, this.random.next(), this.weights);
    }
    this.isDone = this.length <= 0 || !mayFollow || id === network.endId;
    if (this.isDone) return this.add(this.decoder.finish());
    this.length--;
    if (words) this.word = words.follow(this.word, id);
    network.step(id, this.state, this.logits);
    return this.add(this.decoder.feed(id));
  }

  // Add a piece to the text, and return what of it is no stop. A stop that began before takes the end of `text`.
  add(piece) {
    const before = this.text.length;
    this.text += piece;
    const begins = this.stops.map(stop => this.findStop(stop, before)).filter(begin => begin >= 0);
    if (begins.length) {
      this.text = this.text.slice(0, Math.min(...begins));
      this.isDone = true;
    }
    return this.text.slice(before);
  }

  // Where a stop begins that ends behind a place of the text; -1 if none does.
  findStop(stop, place) {
    let begin = this.text.indexOf(stop, Math.max(0, place - stop.length + 1));
    while (this.insideWords.has(begin)) begin = this.text.indexOf(stop, begin + 1);
    return begin;
  }
}
