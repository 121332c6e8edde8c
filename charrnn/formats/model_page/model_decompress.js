"use strict";
// What `charrnn decompress` does: the text of a .crnn file, by the integers of `formats.crnn`, bit for bit.
//
// `container.py` describes the file, `rows.py` how a row of a text is coded. Errors are the sentences of the command.

const SIGNATURE = [0x89, 0x43, 0x52, 0x4e, 0x4e, 0x0d, 0x0a];
const FORMAT = 2;
// Rows of a segment, and bytes of a row and of an included model, at most.
const MAX_ROWS = 64;
const LARGEST_ROW = 262147;
const LARGEST_MODEL = 1073741824;
// Sums of the frequencies of all characters, of the two kinds of symbols, and of escaped bytes.
const SYMBOL_BITS = 30;
const ALL_SYMBOLS = 2 ** SYMBOL_BITS;
const ALL_KINDS = 2 ** 16;
const ALL_BYTES = 2 ** 8;
// Kinds of symbols: a character of the alphabet, and an escaped byte, for everything else.
const CHARACTER = 0;
const ESCAPED = 1;
// The first interval of the range coder; one below TOP is enlarged by a byte.
const LARGEST = (1n << 64n) - 1n;
const TOP = 1n << 56n;

const CRC_OF_BYTE = Int32Array.from({length: 256}, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) {
    const lowest = crc & 1;
    crc >>>= 1;
    if (lowest) crc ^= 0xedb88320;
  }
  return crc;
});

// The CRC-32 of data, which goes on from that of what is before it.
function crc32(data, before = 0) {
  let crc = ~before;
  for (let i = 0; i < data.length; i++) crc = CRC_OF_BYTE[(crc ^ data[i]) & 255] ^ crc >>> 8;
  return ~crc;
}

const inWords = number => number.toLocaleString("en");

// Reads the parts of a file.
class Parts {
  constructor(name, data) {
    this.name = name;
    this.data = data;
    this.at = 0;
  }

  damaged(problem) {
    return new Error(`${this.name} is damaged: ${problem}.`);
  }

  take(size, what) {
    const begin = this.at;
    if (begin + size > this.data.length) throw this.damaged(`it ends in ${what}`);
    this.at += size;
    return this.data.subarray(begin, this.at);
  }

  // Numbers are LEB128: seven bits in a byte, the lowest first. Products, because a shift has 32 bits.
  number(what) {
    let value = 0;
    for (let factor = 1; factor < 2 ** 42; factor *= 128) {
      const [byte] = this.take(1, what);
      value += factor * (byte & 127);
      if (byte < 128) return value;
    }
    throw this.damaged(`a number in ${what} is too large`);
  }

  crc(what) {
    const [lowest, low, high, highest] = this.take(4, what);
    return lowest | low << 8 | high << 16 | highest << 24;
  }

  // Verify what was taken from `begin` on by the CRC-32 that follows it.
  check(begin, what, so = "") {
    const computed = crc32(this.data.subarray(begin, this.at));
    if (this.crc(what) !== computed) throw this.damaged(`${what} has changed${so}`);
  }

  // Read the beginning of a file, which must be of this model.
  readHeader(model) {
    const {name, data} = this;
    const what = "its header";
    if (SIGNATURE.some((byte, i) => data[i] !== byte)) throw new Error(`${name} was not written by charrnn compress.`);
    this.at = SIGNATURE.length;
    if (this.at < data.length && data[this.at] !== FORMAT) {
      const version = `version ${data[this.at]} of the format`;
      throw new Error(`${name} has ${version}, or is damaged: this page reads version ${FORMAT}.`);
    }

    // A model may be included; the page has its own. What is damaged is not called another model.
    const [, ...digest] = this.take(33, what);
    const [bits] = this.take(1, what);
    const size = this.number(what);
    if (size > LARGEST_MODEL || bits !== SYMBOL_BITS) throw this.damaged(`${what} has changed`);
    this.take(size, "the model that it includes");
    this.check(0, what);

    const found = digest.map(byte => byte.toString(16).padStart(2, "0")).join("");
    if (found !== model.digest) {
      const digests = `begins with ${found.slice(0, 12)}, that of ${model.name} with ${model.digest.slice(0, 12)}`;
      throw new Error(`${name} was compressed with another model than ${model.name}: its digest ${digests}.`);
    }
  }

  // Read the sizes of the rows of a segment and of their coded bytes, before a block; none at the end.
  readTable(block) {
    const what = `the table before block ${inWords(block)}`;
    const begin = this.at;
    const numRows = this.number(what);
    if (numRows === 0) return [];
    // One row more than there can be shows that the number is wrong.
    const sizes = [];
    while (sizes.length < Math.min(numRows, MAX_ROWS + 1)) sizes.push([this.number(what), this.number(what)]);
    this.check(begin, what, ", and nothing after it can be restored");
    const isWrong = sizes.some(([size, numCoded]) => numCoded > size || size > LARGEST_ROW);
    if (numRows > MAX_ROWS || isWrong) throw this.damaged(`${what} has sizes that charrnn does not write`);
    return sizes;
  }
}

// Reads intervals of integer frequencies from bytes, after whose end there are zeros.
class RangeDecoder {
  constructor(data) {
    this.data = data;
    this.at = 0;
    this.code = 0n;
    this.size = LARGEST;
    this.part = 0n;
    while (this.at < 8) this.shift();
  }

  shift() {
    const byte = this.data[this.at] || 0;
    this.at++;
    this.code = BigInt.asUintN(64, this.code << 8n | BigInt(byte));
  }

  // Which of the parts of the interval comes next. Damaged bytes may be beyond the last one.
  target(numParts) {
    this.part = this.size / BigInt(numParts);
    return Math.min(Number(this.code / this.part), numParts - 1);
  }

  // Go on with the interval of `size` parts from `begin`, which contains the target.
  take(begin, size) {
    this.code -= this.part * BigInt(begin);
    this.size = this.part * BigInt(size);
    while (this.size < TOP) {
      this.size <<= 8n;
      this.shift();
    }
  }
}

// Read the kind of the next symbol by how often each kind was there after the one before (Krichevsky & Trofimov 1981).
function takeKind(decoder, counts) {
  const [characters, escaped] = counts;
  const expected = (2 * escaped + 1) * ALL_KINDS / (2 * (characters + escaped) + 2);
  const share = Math.max(1, Math.floor(expected));
  const kind = decoder.target(ALL_KINDS) < share ? ESCAPED : CHARACTER;
  if (kind === ESCAPED) decoder.take(0, share);
  else decoder.take(share, ALL_KINDS - share);
  counts[kind]++;
  return kind;
}

// Read the id of the next character by the frequencies (V,).
function takeId(decoder, parts) {
  const target = decoder.target(ALL_SYMBOLS);
  let id = 0;
  let begin = 0;
  while (begin + parts[id] <= target) {
    begin += parts[id];
    id++;
  }
  decoder.take(begin, parts[id]);
  return id;
}

// Set the frequencies (V,) of the next character: integers of at least 1, of sum ALL_SYMBOLS. Operations and their
// order are those of rows.py.
function countParts(logits, weights, parts) {
  const size = logits.length;
  const best = mostLikely(logits, []);
  let total = 0;
  for (let id = 0; id < size; id++) {
    // What is not a number has no weight.
    weights[id] = exp(logits[id] - logits[best]) || 0;
    total += weights[id];
  }

  // What rounding down leaves over costs least at the most likely character.
  const scale = (ALL_SYMBOLS - size) / Math.max(total, 1);
  let rest = ALL_SYMBOLS;
  for (let id = 0; id < size; id++) {
    parts[id] = 1 + Math.floor(weights[id] * scale);
    rest -= parts[id];
  }
  parts[best] += rest;
}

// Decodes rows by a model.
class RowDecoder {
  constructor(network, model) {
    // The same network without clamps, which change what is generated only.
    this.network = Object.create(network);
    this.network.clamps = network.clamps.map(() => new Map());

    // The bytes of each character: of the unknown symbol a question mark, and of a lone surrogate the byte that it
    // stands for, which is not UTF-8.
    const encoder = new TextEncoder();
    const encode = character => {
      if (/^[\udc80-\udcff]$/.test(character)) return [character.charCodeAt(0) & 255];
      return encoder.encode(character || "?");
    };
    this.bytes = model.characters.map(encode);
    if (model.alphabet === "byte") this.bytes = model.characters.map((_, id) => [id]);
    if (model.end_id !== null) this.bytes[model.end_id] = encode(model.separator);

    // The state and the logits before a row.
    this.state = network.initialState();
    this.logits = new Float32Array(network.vocabSize);
    this.network.step(model.start_id, this.state, this.logits);
  }

  // Return the bytes of a row; yield how many bytes have been read after each symbol, of which `before` are those
  // before the row.
  *decode(coded, size, before) {
    const state = this.state.slice();
    const logits = this.logits.slice();
    const weights = new Float64Array(logits.length);
    const parts = new Int32Array(logits.length);
    const decoder = new RangeDecoder(coded);
    // A damaged row can end in the middle of a character, which has at most four bytes.
    const text = new Uint8Array(size + 4);
    // How often each kind followed a character, and an escaped byte.
    const counts = [[0, 0], [0, 0]];
    let kind = CHARACTER;
    let at = 0;
    while (at < size) {
      kind = takeKind(decoder, counts[kind]);
      if (kind === ESCAPED) {
        text[at] = decoder.target(ALL_BYTES);
        decoder.take(text[at], 1);
        at++;
      } else {
        countParts(logits, weights, parts);
        const id = takeId(decoder, parts);
        text.set(this.bytes[id], at);
        at += this.bytes[id].length;
        this.network.step(id, state, logits);
      }
      yield before + Math.min(decoder.at, coded.length);
    }
    return text.subarray(0, size);
  }
}

// Return the text of a file as the bytes of its rows; yield how much of the file has been read, after each symbol.
// Throws an Error that names the first block that is damaged.
function* decompress(network, model, name, data) {
  const file = new Parts(name, data);
  file.readHeader(model);
  const decoder = new RowDecoder(network, model);
  const rows = [];
  let begin = 0;
  let sizes = file.readTable(1);
  while (sizes.length > 0) {
    for (const [size, numCoded] of sizes) {
      const block = `block ${inWords(rows.length + 1)}`;
      const before = file.at;
      const coded = file.take(numCoded, block);
      const crc = file.crc(block);

      // A row whose coded bytes would be more than its own is stored as it is. Its CRC-32 is of the text, too: coded
      // bytes alone do not show that the model is another one.
      let row = coded;
      if (numCoded < size) row = yield* decoder.decode(coded, size, before);
      if (crc32(row, crc32(coded)) !== crc) {
        const where = `(${inWords(size)} bytes from byte ${inWords(begin)})`;
        throw file.damaged(`${block} ${where} is not the text that was compressed`);
      }
      rows.push(row);
      begin += size;
    }
    sizes = file.readTable(rows.length + 1);
  }
  if (file.at < data.length) throw file.damaged("something follows its end");
  return rows;
}
