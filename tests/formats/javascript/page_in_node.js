// Run the network of a page in node: node page_in_node.js PAGE < CASES
// It writes a text for each of the CASES, a list in JSON.
"use strict";

const fs = require("fs");
const vm = require("vm");

const [pagePath] = process.argv.slice(2);
const page = fs.readFileSync(pagePath, "utf-8");
const cases = JSON.parse(fs.readFileSync(0, "utf-8"));

const programs = [...page.matchAll(/<script nonce=[^>]*>(.*?)<\/script>/gs)].map(found => found[1]);
const textOf = id => new RegExp(`id="${id}">(.*?)</script>`, "s").exec(page)[1];
const model = JSON.parse(textOf("model"));
vm.runInThisContext(programs[0]);  // the network

// Write a text as `charrnn sample` does; also return the cells and the next characters after the prime.
function write(network, words, {prime, clamps, temperature, seed, length, known_words, stops = []}) {
  const alphabet = new Alphabet(model);
  network.clamps.forEach(clampsOfLayer => clampsOfLayer.clear());
  for (const [layer, unit, step] of clamps) {
    network.clamps[layer].set(unit, model.memories[step + 20]);
  }
  const state = network.initialState();
  const logits = new Float32Array(network.vocabSize);
  const known = alphabet.encode(alphabet.composed(prime || ""));
  const ids = known.flatMap(one => one.ids);
  if (prime === null || model.end_id !== null) ids.unshift(...model.opening_ids);
  for (const id of ids) network.step(id, state, logits);

  const options = {words: known_words ? words : null, prime: known, stops};
  const writer = new Writer(network, alphabet, {state, logits, temperature, seed, length, ...options});
  let text = "";
  while (!writer.isDone) text += writer.next();

  const weights = new Float64Array(logits.length);
  const total = weigh(logits, 1, alphabet.isBanned, weights);
  return {text, values: [...network.values(state)], probs: [...weights].map(weight => weight / total)};
}

const network = new Network(model, unpackArrays(model, textOf("weights")));
const words = model.has_words ? new Words(unpackWords(textOf("words")), new Alphabet(model)) : null;
process.stdout.write(JSON.stringify(cases.map(one => write(network, words, one))));
