
// ---- the model

const model = {{MODEL}};
const network = new Network(model, await unpackArrays(model, "{{WEIGHTS}}"));
const alphabet = new Alphabet(model);
const wordList = model.num_word_bytes ? await unpackWords(model, "{{WORDS}}") : null;
// Made when a text first needs it.
let words = null;

// Return a text that begins with `prime`: the text of `charrnn sample` for the same options. Without one it begins like the
// training text, and "" stands for a line end. Characters that the model does not know are left out of `prime`. With
// `knownWords` each word is one that the model has read, if the module has the list of them. Throw a RangeError for a
// temperature or a seed below 0, and for `knownWords` without a list.
export function sample({temperature = 0.8, seed = Math.floor(2 ** 32 * Math.random()), prime = null, length = model.length, knownWords = false} = {}) {
  if (!(temperature >= 0) || seed < 0) throw new RangeError("temperature and seed must be at least 0");
  if (knownWords && !wordList) throw new RangeError("the module has no words: export it with --known-words");
  if (knownWords) words ||= new Words(wordList, alphabet);
  const known = alphabet.encode(alphabet.composed(prime ?? ""));
  const ids = known.flatMap(one => one.ids);
  if (prime === null) ids.push(...model.opening_ids);
  else if (ids.length === 0 || model.end_id !== null) ids.unshift(...model.start_ids);
  const before = network.read(ids, network.initialState());
  const writer = new Writer(network, alphabet, {...before, temperature, seed, length, words: knownWords ? words : null, prime: known});
  let text = known.map(one => one.character).join("");
  while (!writer.isDone) text += writer.next();
  return text;
}
