// ---- options

const model = {{MODEL}};

// Whether a value is of a kind.
const KINDS = {
  "text": value => typeof value === "string",
  "texts": value => [value].flat().every(one => typeof one === "string" && one !== ""),
  "number": value => typeof value === "number" && value < Infinity,
  "whole number": value => typeof value === "bigint" || Number.isSafeInteger(value),
  "switch": value => typeof value === "boolean",
};

// A value for a message.
function written(value) {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? text.slice(0, 60) + "\u2026" : text;
}

// The number of characters that are put in, left out or replaced between two words (Levenshtein).
function distanceOf(word, other) {
  let row = Array.from({length: other.length + 1}, (_, index) => index);
  for (let i = 0; i < word.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      const replaced = row[j] + (word[i] === other[j] ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  return row[other.length];
}

// The end of a message about an unknown option: the one that was probably meant.
function didYouMean(word, names) {
  const plain = text => text.toLowerCase().replace(/[^a-z]/g, "");
  const typed = plain(word);
  const isPart = name => typed.length > 2 && (plain(name).includes(typed) || typed.includes(plain(name)));
  const near = names.find(isPart) || names.find(name => 4 * distanceOf(typed, plain(name)) <= name.length);
  return near ? ` Did you mean ${near}?` : "";
}

// Throw a TypeError for what the command refuses, too.
function check(options) {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(`sample takes an object with options, such as {seed: 1}, not ${written(options)}.`);
  }
  const names = model.options.map(option => option.name);
  for (const [name, value] of Object.entries(options)) {
    const option = model.options.find(one => one.name === name);
    if (!option) {
      throw new TypeError(`sample has no option ${name}.${didYouMean(name, names)} It has ${names.join(", ")}.`);
    }
    // What is undefined is left out, and so is null where nothing stands for it.
    if (value === undefined || value === null && option.default === null) continue;
    if (!KINDS[option.kind](value) || value < option.least) {
      throw new TypeError(`${name} is ${written(value)}; it must be ${option.words}.`);
    }
  }
  const hasCount = (options.count ?? null) !== null;
  if (options.unique && !hasCount) throw new TypeError("unique is true, and there is no count: give one, or leave unique out.");
  if (hasCount && Number(options.length) === 0) throw new TypeError("count does not go with length 0, which writes no text.");
  if (options.knownWords && !model.has_words) {
    throw new TypeError("knownWords is true, and the module has no list of words: export it with --known-words.");
  }
  if (options.isNew && !model.digests) {
    throw new TypeError("isNew is true, and the module has no digests of its documents: export it with --new.");
  }
  if (options.isNew && options.knownWords && model.digests.are_single_words) {
    throw new TypeError("knownWords does not go with isNew: the documents are single words, so that none of known words is new.");
  }
}

// ---- texts

const network = new Network(model, unpackArrays(model, "{{WEIGHTS}}"));
const alphabet = new Alphabet(model);
// Made when a text first needs them.
let words = null;
let documents = null;

function knownWords() {
  words ||= new Words(unpackWords("{{WORDS}}"), alphabet);
  return words;
}

function isNewDocument(key) {
  documents ||= new Documents(model.digests, "{{DIGESTS}}");
  return key !== "" && !documents.has(key);
}

const BLANKS = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const BLANK_ENDS = new RegExp(`^${BLANKS}|${BLANKS}$`, "g");

// A text without case, blanks at its ends and the forms of Unicode, as `text.copies.loose_key` makes it.
function looseKey(text) {
  const folded = Array.from(text.normalize("NFKC"), character => model.folded[character] ?? character.toLowerCase());
  return folded.join("").replace(BLANK_ENDS, "");
}

// Draw texts by their places until `count` are not left out: one that was drawn before, and one that the model has read.
// Throw an Error after too many of these in a row.
function choose(draw, beginning, {count, unique, isNew}) {
  const texts = [];
  const seen = new Set();
  let numRejected = 0;
  for (let place = 0; texts.length < count; place++) {
    const text = draw(place);
    const key = looseKey(text);
    numRejected++;
    if (!(unique && seen.has(key)) && !(isNew && !isNewDocument(looseKey(beginning + text)))) {
      texts.push(text);
      numRejected = 0;
    }
    seen.add(key);
    if (numRejected === model.most_rejected) {
      const found = texts.length === 1 ? "1 text" : `${texts.length.toLocaleString("en")} texts`;
      const rejected = numRejected.toLocaleString("en");
      // Where no text was found, fewer would not be found either.
      const problem = texts.length === 0 ? `the first ${rejected} texts were left out. Change`
        : `count is ${count.toLocaleString("en")}, and after ${found} the next ${rejected} were left out. Ask for fewer, or change`;
      throw new Error(`${problem} temperature: a lower one writes more that is valid, a higher one more that is new.`);
    }
  }
  return texts;
}

// Return a text that begins with `prime`: the text of `charrnn sample` for the same options; with `count`, a list of so
// many. Without `prime` it begins like the training text, and "" stands for a line end. Characters that the model does
// not know are left out of `prime`. Throw a TypeError for an option that cannot be used.
export function sample(options = {}) {
  check(options);
  const given = Object.fromEntries(model.options.map(option => [option.name, options[option.name] ?? option.default]));
  const {prime, count} = given;
  const seed = BigInt(given.seed ?? Math.floor(2 ** 32 * Math.random()));
  const known = alphabet.encode(alphabet.composed(prime ?? ""));
  const ids = known.flatMap(one => one.ids);
  if (prime === null) ids.push(...model.opening_ids);
  else if (ids.length === 0 || model.end_id !== null) ids.unshift(...model.start_ids);

  // Each place has a seed of its own.
  const usual = {
    ...network.read(ids, network.initialState()),
    temperature: given.temperature,
    length: Number(given.length),
    stops: [given.stop].flat().map(stop => alphabet.composed(stop)),
    words: given.knownWords ? knownWords() : null,
    prime: known,
  };
  const draw = place => {
    const writer = new Writer(network, alphabet, {...usual, seed: seed + (BigInt(place) << 32n)});
    while (!writer.isDone) writer.next();
    return writer.text;
  };
  const beginning = known.map(one => one.character).join("");
  const chosen = choose(draw, beginning, {...given, count: Number(count ?? 1)});
  const texts = chosen.map(text => beginning + text);
  return count === null ? texts[0] : texts;
}
