// Documents that a model has read, of which a module has digests alone: the first 8 bytes of the SHA-256 (FIPS 180-4) of a
// salt and the `looseKey` of each.

// The first 32 bits of the fractions of the cube roots of the first 64 primes.
const ROUNDS = Uint32Array.from((
  "428a2f9871374491b5c0fbcfe9b5dba53956c25b59f111f1923f82a4ab1c5ed5d807aa9812835b01243185be550c7dc3"
  + "72be5d7480deb1fe9bdc06a7c19bf174e49b69c1efbe47860fc19dc6240ca1cc2de92c6f4a7484aa5cb0a9dc76f988da"
  + "983e5152a831c66db00327c8bf597fc7c6e00bf3d5a7914706ca63511429296727b70a852e1b21384d2c6dfc53380d13"
  + "650a7354766a0abb81c2c92e92722c85a2bfe8a1a81a664bc24b8b70c76c51a3d192e819d6990624f40e3585106aa070"
  + "19a4c1161e376c082748774c34b0bcb5391c0cb34ed8aa4a5b9cca4f682e6ff3748f82ee78a5636f84c878148cc70208"
  + "90befffaa4506cebbef9a3f7c67178f2"
).match(/.{8}/g), digits => parseInt(digits, 16));
// Of the square roots of the first 8 primes.
const FIRST_HASH = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

const turn = (word, count) => word >>> count | word << 32 - count;

// Mix a block of 16 words into a hash of 8 words.
function mixBlock(hash, block) {
  const schedule = new Int32Array(64);
  schedule.set(block);
  for (let i = 16; i < 64; i++) {
    const [old, late] = [schedule[i - 15], schedule[i - 2]];
    const low = turn(old, 7) ^ turn(old, 18) ^ old >>> 3;
    const high = turn(late, 17) ^ turn(late, 19) ^ late >>> 10;
    schedule[i] = schedule[i - 16] + low + schedule[i - 7] + high;
  }
  let [a, b, c, d, e, f, g, h] = hash;
  for (let i = 0; i < 64; i++) {
    const sum = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const first = h + sum + (e & f ^ ~e & g) + ROUNDS[i] + schedule[i] | 0;
    const second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c);
    [h, g, f, e, d, c, b, a] = [g, f, e, d + first | 0, c, b, a, first + second | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => { hash[i] += word; });
}

// Return the first 8 bytes of the SHA-256 of some bytes, as 16 hexadecimal digits.
function digestOf(bytes) {
  // A bit, zeros, and the number of bits fill the last block.
  const padded = new DataView(new ArrayBuffer(64 * Math.ceil((bytes.length + 9) / 64)));
  bytes.forEach((byte, i) => padded.setUint8(i, byte));
  padded.setUint8(bytes.length, 128);
  padded.setUint32(padded.byteLength - 4, 8 * bytes.length);
  const hash = Int32Array.from(FIRST_HASH);
  for (let begin = 0; begin < padded.byteLength; begin += 64) {
    mixBlock(hash, Array.from({length: 16}, (_, i) => padded.getInt32(begin + 4 * i)));
  }
  return hexadecimal(new Uint8Array([0, 1].flatMap(i => [24, 16, 8, 0].map(shift => hash[i] >>> shift))));
}

const hexadecimal = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");

// The documents that a model has read, by their digests.
class Documents {
  constructor({salt, count}, text) {
    this.salt = salt.match(/../g).map(digits => parseInt(digits, 16));
    const bytes = toBytes(text);
    this.digests = new Set(Array.from({length: count}, (_, i) => hexadecimal(bytes.subarray(8 * i, 8 * i + 8))));
  }

  // Each character is two bytes of UTF-16, or four.
  has(key) {
    const codes = Array.from({length: key.length}, (_, i) => key.charCodeAt(i));
    return this.digests.has(digestOf([...this.salt, ...codes.flatMap(code => [code & 255, code >> 8])]));
  }
}
