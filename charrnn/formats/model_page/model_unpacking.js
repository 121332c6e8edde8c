// The weights and the words of a model, out of the text that `charrnn export` packs them into: at once, because a program
// that awaits while it is loaded is refused by older bundlers, by `require` and by service workers.

// Two digits of base 91 are 13 bits. No digit ends a string of JavaScript or an element of HTML.
const DIGITS = "!#$%&'()*+,-./0123456789:;=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~";

// Return the bytes of the digits; the last one may be left over.
function toBytes(text) {
  const values = new Uint8Array(128);
  for (let value = 0; value < DIGITS.length; value++) values[DIGITS.charCodeAt(value)] = value;
  const bytes = new Uint8Array(text.length * 13 >> 4);
  let bits = 0;
  let count = 0;
  let at = 0;
  for (let i = 0; i < text.length; i += 2) {
    bits = bits << 13 | 91 * values[text.charCodeAt(i)] + values[text.charCodeAt(i + 1)];
    for (count += 13; count >= 8; at++) {
      count -= 8;
      bytes[at] = bits >> count;
    }
  }
  return bytes;
}

// The bits of some bytes, of each byte the lowest one first.
class Bits {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.held = 0;
    this.count = 0;
  }

  // The number of the next bits, at most 16, which are not taken. Behind the last byte they are 0.
  look(count) {
    while (this.count < count) {
      this.held |= this.bytes[this.at++] << this.count;
      this.count += 8;
    }
    return this.held & (1 << count) - 1;
  }

  drop(count) {
    this.held >>>= count;
    this.count -= count;
  }

  take(count) {
    const number = this.look(count);
    this.drop(count);
    return number;
  }

  // The next whole bytes.
  takeBytes(count) {
    this.drop(this.count % 8);
    return Uint8Array.from({length: count}, () => this.take(8));
  }
}

// A Huffman code, made of the length of each symbol's codeword (0: none). Codewords of one length are numbers in a row.
class HuffmanCode {
  constructor(lengths) {
    // For all bits that may come next: 16 times the symbol, plus the length of its codeword.
    this.longest = Math.max(...lengths);
    this.table = new Uint16Array(1 << this.longest);
    let codeword = 0;
    for (let length = 1; length <= this.longest; length++) {
      codeword <<= 1;
      for (let symbol = 0; symbol < lengths.length; symbol++) {
        if (lengths[symbol] !== length) continue;
        this.enter(symbol, length, codeword);
        codeword++;
      }
    }
  }

  // The first bit of a codeword is its highest one, and the lowest one of the bits that come.
  enter(symbol, length, codeword) {
    let first = 0;
    for (let bit = 0; bit < length; bit++) first |= (codeword >> bit & 1) << length - 1 - bit;
    for (let next = first; next < this.table.length; next += 1 << length) this.table[next] = 16 * symbol + length;
  }

  take(bits) {
    const found = this.table[bits.look(this.longest)];
    bits.drop(found & 15);
    return found >> 4;
  }
}

// What zlib has packed, as Deflate (RFC 1950, 1951) writes it. Throw an Error where its check sum is another.
class Unpacker {
  constructor(packed) {
    this.bits = new Bits(packed);
    this.bytes = new Uint8Array(4 * packed.length);
    this.size = 0;
  }

  whole() {
    const {bits} = this;
    bits.take(16);  // the head of zlib
    let isLast = false;
    while (!isLast) {
      isLast = bits.take(1) === 1;
      const kind = bits.take(2);
      if (kind === 0) this.unpackStored();
      else if (kind === 1) this.unpackBlock(...usualCodes());
      else this.unpackBlock(...this.readCodes());
    }
    const bytes = this.bytes.subarray(0, this.size);
    const found = bits.takeBytes(4).reduce((sum, byte) => 256 * sum + byte, 0);
    if (found !== checkSum(bytes)) throw new Error("the file is damaged: export it again");
    return bytes;
  }

  // Make room for so many bytes.
  reserve(count) {
    if (this.size + count <= this.bytes.length) return;
    const larger = new Uint8Array(2 * this.bytes.length + count);
    larger.set(this.bytes);
    this.bytes = larger;
  }

  unpackStored() {
    const [low, high] = this.bits.takeBytes(4);
    const stored = this.bits.takeBytes(256 * high + low);
    this.reserve(stored.length);
    this.bytes.set(stored, this.size);
    this.size += stored.length;
  }

  // The codes of a block are packed by a code of their own.
  readCodes() {
    const {bits} = this;
    const numSymbols = bits.take(5) + 257;
    const numDistances = bits.take(5) + 1;
    const numLengths = bits.take(4) + 4;
    const own = new Array(19).fill(0);
    const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    for (const symbol of order.slice(0, numLengths)) own[symbol] = bits.take(3);
    const code = new HuffmanCode(own);

    const lengths = [];
    while (lengths.length < numSymbols + numDistances) {
      const length = code.take(bits);
      let repeated = length;
      let count = 1;
      if (length === 16) {
        repeated = lengths[lengths.length - 1];
        count = 3 + bits.take(2);
      }
      if (length > 16) repeated = 0;
      if (length === 17) count = 3 + bits.take(3);
      if (length === 18) count = 11 + bits.take(7);
      for (; count > 0; count--) lengths.push(repeated);
    }
    return [new HuffmanCode(lengths.slice(0, numSymbols)), new HuffmanCode(lengths.slice(numSymbols))];
  }

  unpackBlock(symbols, distances) {
    const {bits} = this;
    for (let symbol = symbols.take(bits); symbol !== 256; symbol = symbols.take(bits)) {
      this.reserve(258);
      if (symbol < 256) this.bytes[this.size++] = symbol;
      else this.copy(this.lengthOf(symbol - 257), this.distanceOf(distances.take(bits)));
    }
  }

  // The length of a copy, and how far back it begins: from a fifth number on with further bits.
  lengthOf(number) {
    if (number === 28) return 258;
    if (number < 8) return 3 + number;
    const count = (number >> 2) - 1;
    return 3 + (4 + number % 4 << count) + this.bits.take(count);
  }

  distanceOf(number) {
    if (number < 4) return 1 + number;
    const count = (number >> 1) - 1;
    return 1 + (2 + number % 2 << count) + this.bits.take(count);
  }

  // Byte by byte, because a copy may reach into itself.
  copy(length, distance) {
    for (const end = this.size + length; this.size < end; this.size++) this.bytes[this.size] = this.bytes[this.size - distance];
  }
}

// The codes of a block that has none of its own.
function usualCodes() {
  const lengths = Array.from({length: 288}, (_, symbol) => {
    if (symbol < 144) return 8;
    if (symbol < 256) return 9;
    return symbol < 280 ? 7 : 8;
  });
  return [new HuffmanCode(lengths), new HuffmanCode(new Array(30).fill(5))];
}

// Adler-32, the check sum of zlib.
function checkSum(bytes) {
  let first = 1;
  let second = 0;
  for (const byte of bytes) {
    first = (first + byte) % 65521;
    second = (second + first) % 65521;
  }
  return 65536 * second + first;
}

const unpacked = text => new Unpacker(toBytes(text)).whole();

// Return the arrays by name. They lie one after the other, those of float32 first, and of these the first byte of every
// number, then the second one of every number, which zlib compresses better.
function unpackArrays(model, text) {
  const bytes = unpacked(text);
  const ordered = bytes.slice();
  const numFloats = model.num_floats;
  for (let i = 0; i < 4 * numFloats; i++) ordered[i] = bytes[i % 4 * numFloats + (i >> 2)];

  const arrays = {};
  let begin = 0;
  for (const {name, type, length} of model.arrays) {
    const ArrayType = type === "int8" ? Int8Array : Float32Array;
    arrays[name] = new ArrayType(ordered.buffer, begin, length);
    begin += arrays[name].byteLength;
  }
  return arrays;
}
