"use strict";
// What the page shows of the network: the text that is typed and its cells, the next character, and generated text.

const byId = name => document.getElementById(name);

// What goes wrong is said in the page, also while it starts.
function showProblem(message) {
  const shown = byId("problem") || byId("unstarted");
  shown.hidden = false;
  shown.textContent = `The model cannot be run: ${message}. A browser of 2022 or later is needed.`;
}

addEventListener("error", event => showProblem(event.message));

// In a copy that a browser has saved, what was shown is there already: it begins anew.
byId("shown").replaceChildren(byId("page").content.cloneNode(true));

function create(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// The class of a value from -1 to 1, as the style sheet has one for each shade.
function shade(value) {
  const limited = Math.max(-1, Math.min(1, value));
  return "s" + Math.round({{NUM_SHADES}} * limited);
}

// Append a text to an element; neighbours of one class are one element.
function appendShaded(element, text, name) {
  const last = element.lastElementChild;
  if (last && last.className === name) last.textContent += text;
  else element.append(create("span", text, {class: name}));
}

// The scale beside the caption.
for (let i = 0; i <= 20; i++) byId("shades").append(create("span", "\u00a0", {class: shade(i / 10 - 1)}));

const model = JSON.parse(byId("model").textContent);
const NUM_BARS = 10;
// Milliseconds of computation between two chances to draw and to answer the keyboard; and characters between two such
// chances at most, where a browser's clock is coarse.
const SLICE = 24;
const MOST_AT_ONCE = 256;
// Memory for the cells of the typed text, and of the generated text.
const MAX_BYTES = 64e6;
// Columns of the picture of all cells.
const COLUMNS = 32;
const numCells = model.num_layers * model.hidden_size;
const bytesPerCharacter = 4 * (model.num_states * numCells + model.characters.length) + numCells;
const alphabet = new Alphabet(model);

let network = null;
// The words that the model has read; null without their list.
let words = null;
// What the model read: {character, state, logits, values} after each character of the text, and before the first one.
let read = [];
let start = null;
// The character whose cells and guesses are shown; -1: the beginning.
let here = -1;
// The same of a text that is long enough; Infinity: its last character, also when it grows.
let wanted = Infinity;
// The number of the cell that colours the text: layer * H + unit.
let chosen = 0;
// The latest reading, and the running generation.
let reading = 0;
let writer = null;
// The generated text, and the settings that it was generated with.
let written = {prime: "", pieces: [], values: [], settings: null};

const pause = time => new Promise(resolve => setTimeout(resolve, time));
// A number that is rounded to 0 has no sign.
const short = value => (Math.round(100 * value) / 100 || 0).toFixed(2);
const layerOf = cell => Math.floor(cell / model.hidden_size);
const unitOf = cell => cell % model.hidden_size;
const nameOf = cell => `${layerOf(cell)}:${unitOf(cell)}`;
const pack = values => Int8Array.from(values, value => Math.round(127 * value));
const textOf = readings => readings.map(one => one.character).join("");

const followedBy = cell => model.found.find(found => found.cell === cell);

// The shade of a packed value.
function shadeOf(cell, packed) {
  const sign = followedBy(cell)?.polarity ?? 1;
  return shade(sign * packed / 127);
}

function percent(share) {
  if (share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

const PICTURES = {" ": "\u2423", "\n": "\u23ce", "\r": "CR", "\t": "\u21e5"};

// A character in a list, and in a text, where none may change the direction of others or disappear.
function visible(character) {
  if (PICTURES[character]) return PICTURES[character];
  if (!/[\p{C}\p{Z}\p{M}]/u.test(character)) return character;
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// The carriage returns of Windows stand before a newline, and are drawn as nothing.
function inText(text) {
  const shown = Array.from(text.replaceAll("\r", ""), character => {
    if (/[\n\t\p{Zs}\p{M}]/u.test(character)) return character;
    return visible(character);
  });
  return shown.join("");
}

// ---- reading the text

function readIds(ids, before) {
  const after = network.read(ids, before);
  return {...after, values: pack(network.values(after.state))};
}

// A text field limits what is typed, but not what a program sets. The last character may not be cut in half.
function setText(text) {
  byId("text").value = text.slice(0, byId("text").maxLength).replace(/[\ud800-\udbff]$/, "");
}

// Read the text from the first character that changed. Return whether it is the latest reading to the end.
async function readText() {
  reading++;
  const mine = reading;
  const text = alphabet.composed(byId("text").value);
  const characters = alphabet.encode(text);
  const leftOut = new Set(Array.from(text).filter(character => !alphabet.encode(character).length));
  let notice = "";
  if (leftOut.size) notice = `Not in the alphabet, and left out: ${Array.from(leftOut, visible).join(" ")}`;
  byId("left-out").textContent = notice;

  let same = 0;
  while (same < read.length && read[same].character === characters[same]?.character) same++;
  read.length = same;
  let until = performance.now() + SLICE;
  for (const {character, ids} of characters.slice(same)) {
    const before = read.length ? read.at(-1).state : startState();
    read.push({character, ...readIds(ids, before)});
    if (performance.now() > until) {
      paintText();
      await pause();
      if (mine !== reading) return false;
      until = performance.now() + SLICE;
    }
  }
  paintText();
  return true;
}

// The state before the text: a model of documents has read the end of one, any other model nothing.
function startState() {
  if (model.end_id === null) return network.initialState();
  return start.state;
}

function restart() {
  start = readIds(model.opening_ids, network.initialState());
  read = [];
  return readText();
}

const shown = () => read[here] || start;

// ---- drawing

function paintText() {
  here = Math.min(wanted, read.length - 1);
  // Spans that are there are kept: a text mostly grows by a character.
  const element = byId("read");
  while (element.childNodes.length > read.length) element.lastChild.remove();
  read.forEach((one, index) => {
    const span = element.childNodes[index] || element.appendChild(create("span"));
    const text = inText(one.character);
    if (span.textContent !== text) span.textContent = text;
    span.className = shadeOf(chosen, one.values[chosen]);
    if (index === here) span.className += " here";
  });

  // Which cell colours the text, and what red and blue are. A cell that is low inside what it follows is drawn with its
  // sign turned, so that the inside is blue.
  const followed = followedBy(chosen);
  const range = followed?.polarity ?? 1;
  let caption = `cell ${nameOf(chosen)} (${model.shows})`;
  if (followed) caption += `, which follows ${followed.name}`;
  if (range < 0) caption += ", drawn with its sign turned";
  byId("caption").textContent = caption;
  byId("red").textContent = `${-range} `;
  byId("blue").textContent = ` ${range}`;
  paintNext();
  paintCells();
  showCommand();
}

function select(index) {
  wanted = index === read.length - 1 ? Infinity : index;
  paintText();
}

function paintNext() {
  const {logits} = shown();
  const weights = new Float64Array(logits.length);
  const total = weigh(logits, 1, alphabet.isBanned, weights);
  const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]);
  const best = order.slice(0, NUM_BARS).filter(id => weights[id] > 0);
  byId("next").replaceChildren(...best.map(id => nextItem(id, weights[id] / total)));

  let place = "At the beginning";
  if (here >= 0) {
    const last = textOf(read.slice(Math.max(0, here - 11), here + 1));
    place = `After \u201c${Array.from(last, visible).join("")}\u201d`;
  }
  byId("after").textContent = `${place}, at temperature 1:`;
}

function nextItem(id, share) {
  const character = model.characters[id];
  const isByte = model.alphabet === "byte" && id > 127;
  const isEnd = id === model.end_id;
  let name = visible(character);
  if (isByte) name = `byte ${id.toString(16)}`;
  if (isEnd) name = "end";

  const button = create("button", name, {"aria-label": `Type ${name}: ${percent(share)}`});
  // A text field has newlines only.
  button.disabled = isByte || isEnd || character === "\r";
  button.addEventListener("click", () => {
    setText(textOf(read.slice(0, here + 1)) + character);
    wanted = Infinity;
    readText();
  });
  const item = create("li");
  const bar = create("i");
  bar.style.width = `${100 * share}%`;
  item.append(button, bar, create("span", percent(share)));
  return item;
}

const cellButtons = [];

function makeCells() {
  for (let layer = 0; layer < model.num_layers; layer++) {
    const grid = create("div", "", {class: "cells", role: "listbox", "aria-label": `Cells of layer ${layer}`});
    for (let unit = 0; unit < model.hidden_size; unit++) {
      const cell = cellButtons.length;
      const about = {role: "option", "aria-label": `cell ${nameOf(cell)}`};
      const button = create("button", "", about);
      button.addEventListener("click", () => choose(cell));
      cellButtons.push(button);
      grid.append(button);
    }
    if (model.num_layers > 1) byId("layers").append(create("span", `layer ${layer}`, {class: "faint"}));
    byId("layers").append(grid);
  }
  byId("layers").addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS}[event.key];
    if (!cellButtons[chosen + step]) return;
    event.preventDefault();
    choose(chosen + step);
    cellButtons[chosen].focus();
  });
}

// The cells that charrnn visualize found, best first.
function makeFound() {
  byId("found").hidden = !model.found.length;
  for (const {name, cell} of model.found) {
    const about = {"aria-label": `Cell ${nameOf(cell)} follows ${name}`};
    const button = create("button", `${nameOf(cell)} ${name}`, about);
    button.addEventListener("click", () => choose(cell));
    byId("found").append(button);
  }
}

function paintCells() {
  const {values} = shown();
  cellButtons.forEach((button, cell) => {
    const value = values[cell] / 127;
    button.className = shadeOf(cell, values[cell]);
    if (clampTexts.has(cell)) button.className += " clamped";
    button.setAttribute("aria-selected", cell === chosen);
    button.tabIndex = cell === chosen ? 0 : -1;
    button.title = `${nameOf(cell)}: ${short(value)}`;
  });
  [...byId("found").children].forEach((button, index) => {
    button.setAttribute("aria-pressed", model.found[index].cell === chosen);
  });
  byId("value").textContent = short(values[chosen] / 127);
}

function choose(cell) {
  chosen = cell;
  byId("is-clamped").checked = clampTexts.has(cell);
  if (clampTexts.has(cell)) byId("clamp").value = clampTexts.get(cell);
  showClampValue();
  paintText();
  paintWritten(0);
}

function showClampValue() {
  byId("clamp-value").textContent = short(Number(byId("clamp").value));
}

// ---- clamps

// Clamped cells, with the value as it is typed: "0.35".
const clampTexts = new Map();

// The network has the memory of each value that can be typed.
function clamp(cell, text) {
  const half = (model.memories.length - 1) / 2;
  const index = Math.round((Number(text) + 1) * half);
  clampTexts.set(cell, String((index - half) / half));
  network.clamps[layerOf(cell)].set(unitOf(cell), model.memories[index]);
  startWithClamps();
}

function release(cell) {
  clampTexts.delete(cell);
  network.clamps[layerOf(cell)].delete(unitOf(cell));
  startWithClamps();
}

// A text has the same clamps from its beginning to its end.
function startWithClamps() {
  stop();
  byId("clamps").replaceChildren();
  for (const [cell, value] of clampTexts) {
    const about = {"aria-label": `Release cell ${nameOf(cell)}`};
    const button = create("button", `${nameOf(cell)} = ${short(Number(value))} \u00d7`, about);
    button.addEventListener("click", () => {
      release(cell);
      choose(chosen);
    });
    byId("clamps").append(button);
  }
  restart();
}

function clampChosen() {
  showClampValue();
  if (byId("is-clamped").checked) clamp(chosen, byId("clamp").value);
  else if (clampTexts.has(chosen)) release(chosen);
}

// ---- generating

// All that a text depends on.
function settings() {
  return {
    temperature: Number(byId("temperature").value),
    seed: byId("seed").value,
    length: Number(byId("length").value),
    knownWords: words !== null && byId("known-words").checked,
    stops: byId("ends-line").checked ? ["\n"] : [],
    text: byId("text").value,
    prime: textOf(read),
    clamps: [...clampTexts],
  };
}

// `most`: characters between two chances to draw.
async function write({most = MOST_AT_ONCE, isOpening = false} = {}) {
  stop();
  const fields = [...byId("options").querySelectorAll("input")];
  if (!fields.every(field => field.reportValidity())) return;
  if (!(await readText())) return;
  const {state, logits} = read.at(-1) || start;
  const used = settings();
  const prime = alphabet.encode(used.prime);
  const mine = new Writer(network, alphabet, {...used, state, logits, prime, words: used.knownWords ? words : null});
  writer = mine;
  written = {prime: used.prime, pieces: [], values: [], settings: used};
  showCommand();
  byId("written").replaceChildren();
  if (written.prime) byId("written").append(create("span", inText(written.prime), {class: "prime"}));
  // The address of an untouched page stays as it is.
  if (!isOpening) remember();
  byId("stop").disabled = false;

  let numPainted = 0;
  while (writer === mine && !mine.isDone) {
    const until = performance.now() + SLICE;
    for (let count = 0; !mine.isDone && count < most && performance.now() < until; count++) {
      keepPiece(mine.next());
    }
    paintWritten(numPainted);
    numPainted = written.pieces.length;
    byId("progress").textContent = `${used.length - mine.length} characters`;
    await pause(most < MOST_AT_ONCE ? SLICE : 0);
  }
  // Another text may have begun meanwhile.
  if (writer === mine) stop();
}

function keepPiece(text) {
  written.pieces.push(text);
  written.values.push(pack(network.values(writer.state)));
}

// A text that is stopped is that of a smaller length.
function stop() {
  if (writer && !writer.isDone) {
    written.settings.length = written.pieces.length;
    keepPiece(writer.decoder.finish());
    paintWritten(written.settings.length);
    showCommand();
    remember();
  }
  writer = null;
  byId("stop").disabled = true;
}

// Draw the generated text from a piece on.
function paintWritten(from) {
  const element = byId("written");
  const numBefore = written.prime ? 1 : 0;
  if (from === 0) {
    while (element.childNodes.length > numBefore) element.lastChild.remove();
  }
  const isAtEnd = element.scrollTop + element.clientHeight > element.scrollHeight - 40;
  for (let i = from; i < written.pieces.length; i++) {
    appendShaded(element, inText(written.pieces[i]), shadeOf(chosen, written.values[i][chosen]));
  }
  // A reader who has scrolled back stays there.
  if (isAtEnd && from > 0) element.scrollTop = element.scrollHeight;
}

// ---- the command line, and the address, that give the same text

const ESCAPES = {"\n": "\\n", "\t": "\\t", "'": "\\'", "\\": "\\\\"};

function quote(text) {
  if (/^[\w.,:=+/@%-]+$/.test(text)) return text;
  if (/^[^\p{C}']*$/u.test(text)) return `'${text}'`;
  const escaped = Array.from(text, character => {
    if (ESCAPES[character]) return ESCAPES[character];
    if (!/\p{C}/u.test(character)) return character;
    return "\\U" + character.codePointAt(0).toString(16).padStart(8, "0");
  });
  return "$'" + escaped.join("") + "'";
}

// The command of the text that is shown, which later edits do not change; before there is one, that of the next.
function showCommand() {
  const {temperature, seed, length, knownWords, stops, prime, clamps} = written.settings || settings();
  const typed = ["charrnn sample", quote(model.run), `--temp ${temperature} --seed ${seed} --length ${length}`];
  if (knownWords) typed.push("--known-words");
  if (stops.length) typed.push("--stop '\\n'");
  if (prime) typed.push("--prime=" + quote(prime));
  for (const [cell, value] of clamps) typed.push(`--clamp ${nameOf(cell)}=${value}`);
  byId("command").textContent = typed.join(" ");
}

// The address of the text that is shown.
function remember() {
  const {temperature, seed, length, knownWords, stops, text, clamps} = written.settings;
  const address = new URLSearchParams({text, temp: temperature, seed, length, cell: nameOf(chosen)});
  if (words) address.set("words", knownWords ? "known" : "any");
  if (stops.length) address.set("stop", "line");
  const alone = new URLSearchParams(location.hash.slice(1)).get("alone");
  if (alone !== null) address.set("alone", alone);
  for (const [cell, value] of clamps) address.append("clamp", `${nameOf(cell)}=${value}`);
  setAddress("#" + address);
}

// A page inside of another one may not be allowed to have an address of its own, which no text needs.
function setAddress(address) {
  try {
    history.replaceState(null, "", address);
  } catch (error) {
    console.info(`The address stays as it is: ${error.message}`);
  }
}

// ---- the text alone, for a reader who wants no laboratory

const isAlone = () => document.body.classList.contains("alone");

function showAlone(isAlone) {
  document.body.classList.toggle("alone", isAlone);
  byId("alone").textContent = isAlone ? "The laboratory" : "The text alone";
}

function switchAlone() {
  showAlone(!isAlone());
  const address = new URLSearchParams(location.hash.slice(1));
  address.set("alone", isAlone() ? "yes" : "no");
  setAddress("#" + address);
}

function writeAnother() {
  byId("seed").value = Math.floor(2 ** 31 * Math.random());
  write();
}

// The number of a cell; null if there is none of this name.
function cellOf(name) {
  const found = /^(\d+):(\d+)$/.exec(name);
  if (!found) return null;
  const [layer, unit] = found.slice(1).map(Number);
  if (layer >= model.num_layers || unit >= model.hidden_size) return null;
  return layer * model.hidden_size + unit;
}

async function followAddress() {
  const followed = location.hash;
  const address = new URLSearchParams(followed.slice(1));
  stop();
  // The text that was stopped has put its own there.
  setAddress(followed);
  // A narrow screen has no room for a laboratory, until its reader asks for it.
  const isNarrow = matchMedia("(max-width: 40rem)").matches;
  showAlone(address.has("alone") ? address.get("alone") !== "no" : isNarrow);
  if (address.has("text")) setText(address.get("text"));
  for (const [name, id] of Object.entries({temp: "temperature", seed: "seed", length: "length"})) {
    if (address.has(name)) byId(id).value = address.get(name);
  }
  byId("known-words").checked = address.get("words") !== "any";
  byId("ends-line").checked = address.get("stop") === "line";

  for (const cell of [...clampTexts.keys()]) release(cell);
  for (const entry of address.getAll("clamp")) {
    const [name, text] = entry.split("=");
    const cell = cellOf(name);
    if (cell !== null && Math.abs(Number(text)) <= 1) clamp(cell, text);
  }
  await restart();
  const first = model.found.length ? model.found[0].cell : 0;
  choose(cellOf(address.get("cell")) ?? first);
  if (address.has("write")) await write();
}

// ---- at the beginning

function listen() {
  byId("text").addEventListener("input", readText);
  byId("read").addEventListener("click", event => {
    // A translator may have wrapped what is in an element.
    const index = [...byId("read").childNodes].findIndex(child => child.contains(event.target));
    if (index >= 0) select(index);
  });
  byId("read").addEventListener("keydown", event => {
    const to = {ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: read.length - 1}[event.key];
    if (to === undefined || to < -1 || to >= read.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    select(to);
  });
  byId("is-clamped").addEventListener("change", clampChosen);
  byId("clamp").addEventListener("input", clampChosen);
  byId("options").addEventListener("input", showCommand);
  // A form that is submitted is refused in some frames.
  byId("options").addEventListener("keydown", event => {
    if (event.key === "Enter" && event.target.type !== "checkbox" && event.target.tagName === "INPUT") write();
  });
  byId("write").addEventListener("click", () => write());
  byId("stop").addEventListener("click", stop);
  byId("another").addEventListener("click", writeAnother);
  byId("alone").addEventListener("click", switchAlone);
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") stop();
  });
  window.addEventListener("hashchange", followAddress);
}

function describe() {
  const name = inText(model.name);
  document.title = `${name} \u00b7 charrnn`;
  byId("name").textContent = name;
  byId("about").textContent = inText(model.about);
  byId("facts").textContent = model.rows.map(([row, value]) => `${row} ${inText(value)}`).join(" \u00b7 ");
  if (model.language) ["written", "read", "text"].forEach(id => byId(id).lang = model.language);
  byId("text").maxLength = Math.min(5000, Math.floor(MAX_BYTES / bytesPerCharacter));
  byId("length").max = Math.min(20000, Math.floor(MAX_BYTES / numCells));
  byId("length").value = model.length;
  const value = `The value of each cell (${model.shows}) after that character`;
  byId("cells-about").textContent = `${value}. Choose one: it colours the texts.`;
}

async function begin() {
  describe();
  network = new Network(model, unpackArrays(model, byId("weights").textContent.trim()));
  if (model.has_words) {
    words = new Words(unpackWords(byId("words").textContent.trim()), alphabet);
  }
  byId("words-choice").hidden = !words;
  byId("line-choice").hidden = !alphabet.knows("\n");
  makeFound();
  makeCells();
  listen();
  const isUntouched = !location.hash.replace(/^#(alone(=\w*)?)?$/, "");
  await followAddress();
  if (!isUntouched) return;

  // The text that the page opens with is written slowly enough to be watched, unless the reader prefers less motion.
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  await write({most: isStill ? MOST_AT_ONCE : 1, isOpening: true});
}

begin().catch(error => showProblem(error.message));
