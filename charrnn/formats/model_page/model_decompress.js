"use strict";
// What `charrnn decompress` does: the text of a .crnn file, by the integers of `formats.crnn`, bit for bit.
//
// `container.py` describes the file, `rows.py` how a row of a text is coded. Errors are the sentences of the command.

const SIGNATURE = [0x89, 0x43, 0x52, 0x4e, 0x4e, 0x0d, 0x0a], FORMAT = 2;
const MAX_ROWS = 64, LARGEST_ROW = 262147, LARGEST_MODEL = 1073741824;  // rows of a segment; bytes
const SYMBOL_BITS = 30, ALL_KINDS = 1 << 16, ALL_BYTES = 1 << 8;  // of the sum of frequencies; sums of two kinds, of bytes
const TOP = 1n << 56n, LARGEST = (1n << 64n) - 1n;  // an interval below TOP is enlarged by a byte

const CRC_OF_BYTE = Int32Array.from({length: 256}, (_, crc) => {
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(data, before = 0) {  // `before`: that of what precedes
  let crc = ~before;
  for (let i = 0; i < data.length; i++) crc = CRC_OF_BYTE[(crc ^ data[i]) & 255] ^ crc >>> 8;
  return ~crc;
}

const inWords = number => number.toLocaleString("en");

// Reads the parts of a file, and remembers from where on a CRC-32 verifies them.
class Parts {
  constructor(name, data) { [this.name, this.data, this.at, this.first] = [name, data, 0, 0]; }

  damaged(problem) { return new Error(`${this.name} is damaged: ${problem}.`); }

  take(size, what) {
    if (this.at + size > this.data.length) throw this.damaged(`it ends in ${what}`);
    this.at += size;
    return this.data.subarray(this.at - size, this.at);
  }

  number(what) {
    for (let value = 0, factor = 1; factor < 2 ** 42; factor *= 128) {
      const [byte] = this.take(1, what);
      value += factor * (byte & 127);
      if (byte < 128) return value;
    }
    throw this.damaged(`a number in ${what} is too large`);
  }

  crc(what) {
    const [a, b, c, d] = this.take(4, what);
    return a | b << 8 | c << 16 | d << 24;
  }

  check(what, so = "") {
    const computed = crc32(this.data.subarray(this.first, this.at));
    if (this.crc(what) !== computed) throw this.damaged(`${what} has changed${so}`);
    this.first = this.at;
  }

  // Read the beginning of a file, which must be of this model.
  readHeader(model) {
    const {name, data} = this, what = "its header";
    if (SIGNATURE.some((byte, i) => data[i] !== byte)) throw new Error(`${name} was not written by charrnn compress.`);
    this.at = SIGNATURE.length;
    const version = data[this.at];
    if (this.at < data.length && version !== FORMAT) throw new Error(`${name} has version ${version} of the format, or is damaged: this page reads version ${FORMAT}.`);
    const [, ...digest] = this.take(33, what), [bits] = this.take(1, what), size = this.number(what);
    if (size > LARGEST_MODEL || bits !== SYMBOL_BITS) throw this.damaged(`${what} has changed`);
    this.take(size, "the model that it includes");
    this.check(what);
    const found = digest.map(byte => byte.toString(16).padStart(2, "0")).join("");
    if (found !== model.digest) throw new Error(`${name} was compressed with another model than ${model.name}: its digest begins with ${found.slice(0, 12)}, that of ${model.name} with ${model.digest.slice(0, 12)}.`);
  }

  // Read the sizes of the rows of a segment and of their coded bytes, before a block; null at the end.
  readTable(block) {
    const what = `the table before block ${inWords(block)}`, numRows = this.number(what);
    if (!numRows) return null;
    const sizes = Array.from({length: Math.min(numRows, MAX_ROWS + 1)}, () => [this.number(what), this.number(what)]);
    this.check(what, ", and nothing after it can be restored");
    if (numRows > MAX_ROWS || sizes.some(([size, numCoded]) => numCoded > size || size > LARGEST_ROW)) throw this.damaged(`${what} has sizes that charrnn does not write`);
    return sizes;
  }
}

// Reads intervals of integer frequencies from bytes, after whose end there are zeros.
class RangeDecoder {
  constructor(data) {
    [this.data, this.at, this.code, this.size, this.part] = [data, 0, 0n, LARGEST, 0n];
    while (this.at < 8) this.shift();
  }

  shift() { this.code = BigInt.asUintN(64, this.code << 8n | BigInt(this.data[this.at++] || 0)); }

  // Which of the parts of the interval comes next.
  target(numParts) {
    this.part = this.size / BigInt(numParts);
    return Math.min(Number(this.code / this.part), numParts - 1);
  }

  // Go on with the interval of `size` parts from `begin`, which contains the target.
  take(begin, size) {
    this.code -= this.part * BigInt(begin);
    for (this.size = this.part * BigInt(size); this.size < TOP; this.size <<= 8n) this.shift();
  }
}

// Set the frequencies (V,) of the next character: integers of at least 1, of sum 2^SYMBOL_BITS. Operations and order are those of rows.py.
function countParts(logits, weights, parts) {
  const size = logits.length, best = mostLikely(logits, []);
  let total = 0, rest = 2 ** SYMBOL_BITS;
  for (let id = 0; id < size; id++) total += weights[id] = exp(logits[id] - logits[best]) || 0;  // not a number: 0
  const scale = (2 ** SYMBOL_BITS - size) / Math.max(total, 1);
  for (let id = 0; id < size; id++) rest -= parts[id] = 1 + Math.floor(weights[id] * scale);
  parts[best] += rest;
}

// Decodes rows by a model.
class RowDecoder {
  constructor(network, model) {
    this.network = Object.assign(Object.create(network), {clamps: network.clamps.map(() => new Map())});  // the same without clamps
    const encoder = new TextEncoder(), isByte = character => /^[\udc80-\udcff]$/.test(character);  // what is not UTF-8
    const encode = character => isByte(character) ? [character.charCodeAt(0) & 255] : encoder.encode(character || "?");
    this.bytes = model.characters.map((character, id) => model.alphabet === "byte" ? [id] : encode(character));
    if (model.end_id !== null) this.bytes[model.end_id] = encode(model.separator);
    [this.state, this.logits] = [network.initialState(), new Float32Array(network.vocabSize)];  // before a row
    this.network.step(model.start_id, this.state, this.logits);
  }

  // Return the bytes of a row; yield how many coded bytes have been read, after each character.
  *decode(coded, size) {
    const {network, bytes} = this, state = this.state.slice(), logits = this.logits.slice();
    const weights = new Float64Array(logits.length), parts = new Int32Array(logits.length);
    const decoder = new RangeDecoder(coded), text = new Uint8Array(size + 4);  // a damaged row can end in the middle of a character
    const counts = [[0, 0], [0, 0]];  // how often each of two kinds followed each of them
    const kindAfter = context => {
      const [zeros, ones] = counts[context], share = Math.max(1, Math.floor((2 * ones + 1) * ALL_KINDS / (2 * (zeros + ones) + 2)));
      const kind = decoder.target(ALL_KINDS) < share ? 1 : 0;
      counts[context][kind]++;
      decoder.take(...kind ? [0, share] : [share, ALL_KINDS - share]);
      return kind;
    };
    let last = 0, at = 0;
    while (at < size) {
      last = kindAfter(last);
      if (last) {
        const byte = text[at++] = decoder.target(ALL_BYTES);
        decoder.take(byte, 1);
      } else {
        countParts(logits, weights, parts);
        const target = decoder.target(2 ** SYMBOL_BITS);
        let id = 0, begin = 0;
        for (; begin + parts[id] <= target; id++) begin += parts[id];
        decoder.take(begin, parts[id]);
        text.set(bytes[id], at);
        at += bytes[id].length;
        network.step(id, state, logits);
      }
      yield Math.min(decoder.at, coded.length);
    }
    return text.subarray(0, size);
  }
}

// Return the text of a file as the bytes of its rows; yield how much of the file has been read, after each character.
// Throws an Error that names the first block that is damaged.
function* decompress(network, model, name, data) {
  const file = new Parts(name, data), rows = [];
  file.readHeader(model);
  const decoder = new RowDecoder(network, model);
  for (let begin = 0, sizes; (sizes = file.readTable(rows.length + 1)); file.first = file.at) {
    for (const [size, numCoded] of sizes) {
      const block = `block ${inWords(rows.length + 1)}`, coded = file.take(numCoded, block), before = file.at - numCoded, crc = file.crc(block);
      let row = coded;
      if (numCoded < size) {
        const steps = decoder.decode(coded, size);
        let step;
        while (!(step = steps.next()).done) yield before + step.value;
        row = step.value;
      }
      if (crc32(row, crc32(coded)) !== crc) throw file.damaged(`${block} (${inWords(size)} bytes from byte ${inWords(begin)}) is not the text that was compressed`);
      rows.push(row);
      begin += size;
    }
  }
  if (file.at < data.length) throw file.damaged("something follows its end");
  return rows;
}
