"use strict";
// The network of `charrnn sample` with its int8 weights, one character at a time.
//
// The same model, seed and options give the same text as `charrnn sample`, byte for byte:
// - sums of products are sums of integers below 2^24, which are exact in any order;
// - everything else is one operation of float32 or float64 after the other, in the order of charrnn. JavaScript computes
//   in float64; `f32` rounds a sum, a product or a quotient of two float32 to what float32 arithmetic gives;
// - exp and tanh are written out, because browsers differ in the last digits of theirs.
//
// Shapes: V vocabulary, H hidden, L layers, S state vectors per layer, R rows and C columns of a matrix, E embedding.

const f32 = Math.fround;
const SHIFT = 67108864;  // 2^26, the distance of two sums that share a number: each is below 2^24
const ROUND = 6755399441055744;  // 1.5 * 2^52: adding and subtracting it rounds |x| < 2^51 to an integer, halves to the even one
const rint = x => x + ROUND - ROUND;
const NGRAM_BASE = 1009, NGRAM_SHORTEST = 3, NGRAM_BEFORE = 4;
const SMALLEST_EXPONENT = -60;  // inputs are scaled as if the largest were at least 2^-61

// tanh(x) = x P(x^2) / Q(x^2) on [-9, 9].
const [P0, P1, P2, P3, P4] = [0.99999990636668, 0.13373198771542, 3.4865830984447e-3, 2.0471847671649e-5, 1.3184242806811e-8].map(f32);
const [Q0, Q1, Q2, Q3, Q4] = [1.0, 0.46706495638980, 2.5841983960394e-2, 3.2713872397441e-4, 7.7026722455669e-7].map(f32);

function tanh(x) {
  x = x > 9 ? 9 : x < -9 ? -9 : x;
  const square = f32(x * x);
  const top = f32(f32(f32(f32(f32(f32(f32(f32(P4 * square) + P3) * square) + P2) * square) + P1) * square) + P0);
  const bottom = f32(f32(f32(f32(f32(f32(f32(f32(Q4 * square) + Q3) * square) + Q2) * square) + Q1) * square) + Q0);
  return f32(f32(x * top) / bottom);
}

const sigmoid = x => f32(f32(0.5 * tanh(f32(0.5 * x))) + 0.5);

// exp(x) for x <= 0 in float64: 2^k times the Taylor polynomial of the rest.
const INVERSE_LN2 = 1.4426950408889634, LN2_HIGH = 0.6931471803691238, LN2_LOW = 1.9082149292705877e-10;
const TAYLOR = [1, 1];
for (let n = 2, factorial = 1; n < 14; n++) TAYLOR.push(1 / (factorial *= n));

const bits64 = new DataView(new ArrayBuffer(8));
function powerOfTwo(exponent) {  // from -1022 to 1023
  bits64.setInt32(0, (exponent + 1023) << 20);
  bits64.setInt32(4, 0);
  return bits64.getFloat64(0);
}

function exp(x) {
  if (x < -700) return 0;
  const power = rint(x * INVERSE_LN2), rest = x - power * LN2_HIGH - power * LN2_LOW;
  let total = TAYLOR[13];
  for (let n = 12; n >= 0; n--) total = total * rest + TAYLOR[n];
  return total * powerOfTwo(power);
}

const floatBits = new Float32Array(1), intBits = new Int32Array(floatBits.buffer);
// The exponent of |x| as frexp gives it: |x| is in [2^(e - 1), 2^e).
function exponentOf(x) {
  floatBits[0] = x;
  return Math.max((intBits[0] >>> 23 & 255) - 126, SMALLEST_EXPONENT);
}

// A weight (R, C) of 8-bit integers with a scale per row, and a bias. `bits` are those of the rounded inputs.
class Matrix {
  constructor({values, scale, bias, bits, columns}) {
    [this.numRows, this.columns, this.bits, this.scale, this.bias] = [scale.length, columns, bits, scale, bias];
    // One number holds the weights of two rows, w + 2^26 w', and so one product of float64 makes two exact sums.
    // Four such numbers stand together for each column.
    this.numGroups = Math.ceil(this.numRows / 8);
    this.pairs = new Float64Array(this.numGroups * columns * 4);
    for (let row = 0; row < this.numRows; row++) {
      const factor = row % 2 ? SHIFT : 1, first = (row >> 3) * columns * 4 + (row % 8 >> 1);
      for (let column = 0; column < columns; column++) this.pairs[first + 4 * column] += factor * values[row * columns + column];
    }
    this.rounded = new Float64Array(columns);
    this.sums = new Float64Array(8 * this.numGroups);
  }

  // Compute out (R,) = x (C,) @ weight.T + bias.
  product(x, out) {
    const {numRows, columns, bits, scale, bias, rounded, sums} = this;
    let largest = 0;
    for (let column = 0; column < columns; column++) { const size = Math.abs(x[column]); if (size > largest) largest = size; }
    const exponent = exponentOf(largest), up = powerOfTwo(bits - exponent), down = powerOfTwo(exponent - bits);
    for (let column = 0; column < columns; column++) rounded[column] = rint(x[column] * up);
    this.sum();
    for (let row = 0; row < numRows; row++) out[row] = f32(f32(sums[row] * f32(scale[row] * down)) + bias[row]);
  }

  sum() {
    const {numGroups, columns, pairs, rounded, sums} = this;
    for (let group = 0, at = 0; group < numGroups; group++) {
      let a = 0, b = 0, c = 0, d = 0;
      for (let column = 0; column < columns; column++, at += 4) {
        const x = rounded[column];
        a += pairs[at] * x;
        b += pairs[at + 1] * x;
        c += pairs[at + 2] * x;
        d += pairs[at + 3] * x;
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

// The input products of the first layer (V, R): a row per character.
function makeTable({table, embedding, weight, bias}, size, bits) {
  if (table) return table;
  const rows = bias.length, numEntries = embedding.length / size, out = new Float32Array(numEntries * rows);
  // Each value is split into two integers of so few bits that every sum of their products is exact (Ozaki et al. 2012).
  const scale = powerOfTwo(-bits), x = splitRows(embedding, size, bits), w = splitRows(weight, size, bits);
  for (let entry = 0; entry < numEntries; entry++) {
    for (let row = 0; row < rows; row++) {
      let high = 0, crossed = 0, mixed = 0, low = 0;
      for (let k = 0, i = entry * size, j = row * size; k < size; k++, i++, j++) {
        high += x.high[i] * w.high[j];
        crossed += x.high[i] * w.low[j];
        mixed += x.low[i] * w.high[j];
        low += x.low[i] * w.low[j];
      }
      const total = high + (crossed + mixed + low * scale) * scale;
      out[entry * rows + row] = total * powerOfTwo(x.exponents[entry] + w.exponents[row] - 2 * bits) + bias[row];
    }
  }
  return out;
}

function splitRows(values, size, bits) {
  const high = new Float64Array(values.length), low = new Float64Array(values.length), exponents = [];
  for (let begin = 0; begin < values.length; begin += size) {
    let largest = 0;
    for (let i = begin; i < begin + size; i++) largest = Math.max(largest, Math.abs(values[i]));
    let exponent = 0;
    if (largest > 0) { bits64.setFloat64(0, largest); exponent = (bits64.getInt32(0) >>> 20) - 1022; }
    exponents.push(exponent);
    const up = powerOfTwo(bits - exponent), again = powerOfTwo(bits);
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
      const i = sigmoid(f32(x[j] + u[j])), f = sigmoid(f32(x[size + j] + u[size + j]));
      const g = tanh(f32(x[2 * size + j] + u[2 * size + j]));
      c[j] = f32(f * c[j]) + f32(i * g);
    }
    clamp(c);
    for (let j = 0; j < size; j++) h[j] = sigmoid(f32(x[3 * size + j] + u[3 * size + j])) * tanh(c[j]);
  },
  gru(x, u, h, c, size, clamp) {
    for (let j = 0; j < size; j++) {
      const r = sigmoid(f32(x[j] + u[j])), z = sigmoid(f32(x[size + j] + u[size + j]));
      const n = tanh(f32(x[2 * size + j] + f32(r * u[2 * size + j])));
      h[j] = n + f32(z * f32(h[j] - n));
    }
    clamp(h);
  },
  rnn(x, u, h, c, size, clamp) {
    for (let j = 0; j < size; j++) h[j] = tanh(f32(x[j] + u[j]));
    clamp(h);
  },
};

// A model as `charrnn export` describes it, with its arrays by name.
class Network {
  constructor(model, arrays) {
    const {num_layers: numLayers, hidden_size: size, num_states: numStates, state_width: width} = model;
    Object.assign(this, {numLayers, size, numStates, width, endId: model.end_id, cell: CELLS[model.cell], isSummed: model.sum_outputs});
    this.isResidual = model.depth === "residual";
    this.kept = f32(1 - f32(model.zoneout));
    this.vocabSize = model.characters.length;
    const matrix = (name, index) => new Matrix({...model.matrices[name], values: arrays[name], scale: arrays[name + ".scale"], bias: arrays[name + ".bias"]});
    this.layers = Array.from({length: numLayers}, (_, index) => ({
      input: index ? matrix(`layers.${index}.input`) : null,
      recurrent: matrix(`layers.${index}.recurrent`),
    }));
    this.output = matrix("output");
    this.table = makeTable({table: arrays.table, embedding: arrays.embedding, weight: arrays.weight_ih, bias: arrays.bias_ih},
      model.embedding_size, model.table_bits);
    this.inputWidth = this.table.length / this.vocabSize;
    this.learnedState = arrays.learned_state || new Float32Array(numLayers * width * size);
    [this.ngrams, this.ngramScale] = [arrays.ngrams, arrays["ngrams.scale"]];
    this.clamps = this.layers.map(() => new Map());  // for each layer: unit to the value of its memory
    this.x = new Float32Array(this.inputWidth);
    this.u = new Float32Array(this.layers[0].recurrent.numRows);
    this.below = new Float32Array(size);
    this.total = new Float32Array(size);
    this.old = new Float32Array(numStates * size);
  }

  initialState() { return this.learnedState.slice(); }

  // Read a character: the state (L, S, H) and the logits (V,) change in place.
  step(id, state, logits) {
    const {size, numStates, width, x, u, below, total, old, kept} = this;
    if (id === this.endId) state.set(this.learnedState);
    this.layers.forEach(({input, recurrent}, layer) => {
      const own = state.subarray(layer * width * size, (layer * width + numStates) * size);
      const h = own.subarray(0, size), c = own.subarray((numStates - 1) * size);
      const clamp = memory => { for (const [unit, value] of this.clamps[layer]) memory[unit] = value; };
      if (input) input.product(below, x);
      else x.set(this.table.subarray(id * this.inputWidth, (id + 1) * this.inputWidth));
      recurrent.product(h, u);
      if (kept !== 1) old.set(own);
      this.cell(x, u, h, c, size, clamp);
      if (kept !== 1) {
        for (let j = 0; j < own.length; j++) own[j] = old[j] + f32(kept * f32(own[j] - old[j]));
        clamp(c);
      }
      if (layer && this.isResidual) for (let j = 0; j < size; j++) below[j] += h[j];
      else below.set(h);
      if (layer && this.isSummed) for (let j = 0; j < size; j++) total[j] += below[j];
      else total.set(below);
    });
    this.output.product(total, logits);
    if (this.ngrams) this.addNgrams(id, state, logits);
  }

  // Add the rows of the last characters, the shortest n-gram first. Those before this one are in the state as ids plus 1.
  addNgrams(id, state, logits) {
    const {ngrams, ngramScale, vocabSize} = this, place = (this.width - 1) * this.size;
    let row = id + 1;
    for (let length = 2; length <= NGRAM_BEFORE + 1; length++) {
      row = (row * NGRAM_BASE + state[place + NGRAM_BEFORE + 1 - length]) % ngramScale.length;
      if (length < NGRAM_SHORTEST) continue;
      for (let char = 0; char < vocabSize; char++) {
        logits[char] += f32(ngrams[row * vocabSize + char] * ngramScale[row]);
      }
    }
    state.copyWithin(place, place + 1, place + NGRAM_BEFORE);
    state[place + NGRAM_BEFORE - 1] = id + 1;
  }

  // The value of every cell (L * H,), from a state: tanh(c), or h.
  values(state) {
    const {size, numStates, numLayers, width} = this, out = new Float32Array(numLayers * size);
    for (let layer = 0; layer < numLayers; layer++) {
      const first = (layer * width + numStates - 1) * size;
      for (let j = 0; j < size; j++) out[layer * size + j] = numStates > 1 ? tanh(state[first + j]) : state[first + j];
    }
    return out;
  }
}

// Uniform numbers in [0, 1) as numpy.random.default_rng(seed).random() draws them: PCG64 (O'Neill 2014), whose state
// comes from a SeedSequence; what is above 32 bits of the seed is its spawn key, which follows four words.
class Random {
  constructor(seed) {
    const words = [], pool = [];
    for (let rest = BigInt(seed); rest > 0n; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
    if (words.length > 1) words.splice(1, 0, 0, 0, 0);
    let constant = 0x43b0d7e5;
    const hash = word => {
      word ^= constant;
      constant = Math.imul(constant, 0x931e8875);
      word = Math.imul(word, constant);
      return word ^ word >>> 16;
    };
    const mix = (a, b) => {
      const word = Math.imul(a, 0xca01f9dd) - Math.imul(b, 0x4973f715) | 0;
      return word ^ word >>> 16;
    };
    for (let i = 0; i < 4; i++) pool.push(hash(words[i] || 0));
    for (let from = 0; from < 4; from++) for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
    for (const word of words.slice(4)) for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word));
    constant = 0x8b51f9dd;
    const drawn = Array.from({length: 8}, (_, i) => {
      let word = pool[i % 4] ^ constant;
      constant = Math.imul(constant, 0x58f38ded);
      word = Math.imul(word, constant);
      return BigInt((word ^ word >>> 16) >>> 0);
    });
    const long = i => drawn[2 * i] | drawn[2 * i + 1] << 32n;
    this.increment = BigInt.asUintN(128, (long(2) << 64n | long(3)) << 1n | 1n);
    this.state = BigInt.asUintN(128, this.increment + (long(0) << 64n | long(1)));
    this.advance();
  }

  advance() { this.state = BigInt.asUintN(128, this.state * 0x2360ed051fc65da44385df649fccf645n + this.increment); }

  next() {
    this.advance();
    const word = BigInt.asUintN(64, this.state >> 64n ^ this.state), turn = this.state >> 122n;
    const turned = BigInt.asUintN(64, word >> turn | word << (64n - turn));
    return Number(turned >> 11n) / 9007199254740992;  // 2^53
  }
}

// The probabilities (V,) of the next character up to a common factor, at a temperature above 0; 0 for banned ids.
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
  for (let id = 0; id < logits.length; id++) if (!isBanned[id] && (best < 0 || logits[id] > logits[best])) best = id;
  return best;
}

// Draw one id by a uniform number in [0, 1); at temperature 0 the most likely one.
function draw(logits, temperature, isBanned, uniform, weights) {
  if (temperature === 0) return mostLikely(logits, isBanned);
  const target = uniform * weigh(logits, temperature, isBanned, weights);
  let reached = 0, last = -1;
  for (let id = 0; id < logits.length; id++) {
    if (weights[id] > 0) {
      reached += weights[id];
      last = id;
      if (reached > target) break;
    }
  }
  return last;
}

// The alphabet: text to ids and back.
class Alphabet {
  constructor(model) {
    [this.characters, this.isBytes, this.startId] = [model.characters, model.alphabet === "byte", model.start_id];
    this.ids = new Map(model.characters.map((character, id) => [character, id]));
    this.isBanned = new Uint8Array(model.characters.length);
    for (const id of model.banned) this.isBanned[id] = 1;
  }

  // The ids of each character, with the character; those of unknown characters and of U+0000 are missing.
  encode(text) {
    const encoder = this.isBytes ? new TextEncoder() : null;
    return Array.from(text).filter(character => this.knows(character))
      .map(character => ({character, ids: encoder ? [...encoder.encode(character)] : [this.ids.get(character)]}));
  }

  knows(character) { return character !== "\0" && (this.isBytes || this.ids.has(character)); }

  decoder() {
    if (!this.isBytes) return {feed: id => this.characters[id] || "\ufffd", finish: () => ""};
    const decoder = new TextDecoder("utf-8", {ignoreBOM: true});
    return {feed: id => decoder.decode(new Uint8Array([id]), {stream: true}), finish: () => decoder.decode()};
  }
}

// Text after a prime, character by character: `next` returns the text of the id that it draws, null after the end of
// a document or after `length` ids.
class Writer {
  constructor(network, alphabet, {state, logits, temperature, seed, length}) {
    Object.assign(this, {network, alphabet, temperature, length, state: state.slice(), logits: logits.slice()});
    this.random = new Random(seed);
    this.decoder = alphabet.decoder();
    this.weights = new Float64Array(network.vocabSize);
    this.isDone = false;
  }

  next() {
    const {network, alphabet} = this;
    const id = this.length-- > 0 ? draw(this.logits, this.temperature, alphabet.isBanned, this.random.next(), this.weights) : network.endId;
    this.isDone = this.length < 0 || id === network.endId;
    if (this.isDone) return this.decoder.finish();
    network.step(id, this.state, this.logits);
    return this.decoder.feed(id);
  }
}

// ---- the weights: zlib, in base 64

// Return the arrays by name. They lie one after the other, those of float32 first.
async function unpackArrays(model, text) {
  const compressed = Uint8Array.from(atob(text), character => character.charCodeAt(0)), arrays = {};
  const inflated = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(inflated).arrayBuffer();
  let begin = 0;
  for (const {name, type, length} of model.arrays) {
    arrays[name] = new (type === "int8" ? Int8Array : Float32Array)(buffer, begin, length);
    begin += arrays[name].byteLength;
  }
  return arrays;
}
