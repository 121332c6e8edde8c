// Known words: texts all of whose words a model has read, as `charrnn sample --known-words` writes them. The list is the
// file `words` of a model file (`text.word_list`), and the states are those of `generation.known_words`.

const [OTHER, LETTER, JOINER] = [0, 1, 2];

// The beginning of a word: it ends at `isWhole`, and goes on by the characters of its children.
class WordNode {
  constructor(isWhole) {
    this.children = new Map();
    this.isWhole = isWhole;
    // After an apostrophe or a hyphen that belongs to no word.
    this.afterJoiner = this;
  }
}

// The words that a model has read, as a tree of their ids. The state of a text is the node of the word that it is in.
class Words {
  constructor(list, alphabet) {
    this.alphabet = alphabet;
    this.between = new WordNode(true);
    // Inside a word that is none of the list; and behind a word and an apostrophe, which a letter would join to it.
    this.unknown = new WordNode(true);
    this.parted = new WordNode(true);
    this.unknown.afterJoiner = this.parted;
    this.parted.afterJoiner = this.between;

    const kindOf = new Map();
    for (const character of list.letters) kindOf.set(character, LETTER);
    for (const character of list.joiners) kindOf.set(character, JOINER);
    this.kinds = alphabet.characters.map(character => kindOf.get(character) ?? OTHER);
    this.addAll(list);
  }

  addAll(list) {
    const pairs = Array.from(list.capitals);
    const capitals = new Map();
    for (let i = 0; i < pairs.length; i += 2) capitals.set(pairs[i], pairs[i + 1]);
    // Each word follows the number of characters that it shares with the one before it.
    let word = [];
    for (const [, shared, rest] of list.words.matchAll(/([0-9]+)([^0-9]+)/g)) {
      word = word.slice(0, Number(shared)).concat(Array.from(rest));
      this.add(word);
      if (capitals.has(word[0])) this.add([capitals.get(word[0]), ...word.slice(1)]);
    }
  }

  add(word) {
    let node = this.between;
    for (const character of word) {
      const id = this.alphabet.ids.get(character);
      let child = node.children.get(id);
      if (!child) {
        // Before the next letter, an apostrophe may be outside of the word.
        const isJoiner = this.kinds[id] === JOINER;
        child = new WordNode(isJoiner && node.isWhole);
        child.afterJoiner = isJoiner ? this.between : this.parted;
        node.children.set(id, child);
      }
      node = child;
    }
    node.isWhole = true;
    for (const [id, child] of node.children) child.isWhole ||= this.kinds[id] === JOINER;
  }

  // Set which ids (V,) must not follow a state; banned ones never do. Return whether any may.
  forbid(state, isBanned, isForbidden) {
    for (let id = 0; id < isBanned.length; id++) {
      const isAllowed = state.isWhole && this.kinds[id] !== LETTER || state.children.has(id);
      isForbidden[id] = isBanned[id] || !isAllowed;
    }
    return isForbidden.includes(0);
  }

  follow(state, id) {
    const child = state.children.get(id);
    if (child) return child;
    if (this.kinds[id] === LETTER) return this.unknown;
    if (this.kinds[id] === JOINER) return state.afterJoiner;
    return this.between;
  }
}

// Return the list of the words that the model has read.
function unpackWords(text) {
  return JSON.parse(new TextDecoder().decode(unpacked(text)));
}
