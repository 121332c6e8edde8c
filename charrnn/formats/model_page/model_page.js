"use strict";
// What the page shows of the network: the text that is typed and its cells, the next character, and generated text.

const model = JSON.parse(document.getElementById("model").textContent);
const byId = name => document.getElementById(name);
const NUM_BARS = 10, SLICE = 24;  // milliseconds of computation between two chances to draw and to answer the keyboard
const MOST_AT_ONCE = 256;  // characters between two such chances, where a browser's clock is coarse
const MAX_BYTES = 64e6;  // memory for the cells of the typed text, and of the generated text
const COLUMNS = 32;  // of the picture of all cells
const numCells = model.num_layers * model.hidden_size;
const bytesPerCharacter = 4 * (model.state_width * numCells + model.characters.length) + numCells;
const alphabet = new Alphabet(model);
let network = null;
let read = [];  // what the model read: {character, state, logits, values} after each character of the text
let start = null;  // the same before the first one
let here = -1;  // the character whose cells and guesses are shown; -1: the beginning
let wanted = Infinity;  // the same of a text that is long enough; Infinity: its last character, also when it grows
let chosen = 0;  // the number of the cell that colours the text: layer * H + unit
let reading = 0, writer = null;  // the latest reading; the running generation
let written = {prime: "", pieces: [], values: [], settings: null};  // settings: those that it was generated with

function create(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const pause = time => new Promise(resolve => setTimeout(resolve, time));
const shade = value => "s" + Math.round(model.num_shades * Math.max(-1, Math.min(1, value)));
const short = value => value.toFixed(2).replace("-", "\u2212");
const nameOf = cell => `${Math.floor(cell / model.hidden_size)}:${cell % model.hidden_size}`;
const percent = share => share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
const pack = values => Int8Array.from(values, value => Math.round(127 * value));
const PICTURES = {" ": "\u2423", "\n": "\u23ce", "\r": "CR", "\t": "\u21e5", "\ufffd": "\ufffd"};
const isHidden = character => /[\p{C}\p{Z}\p{M}]/u.test(character);
// A character in a list, and in a text, where none may change the direction of others or disappear.
const visible = character => PICTURES[character] || (isHidden(character) ? "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") : character);
// The carriage returns of Windows stand before a newline, and are drawn as nothing.
const inText = text => Array.from(text.replaceAll("\r", ""), character => "\n\t".includes(character) || /[\p{Zs}\p{M}]/u.test(character) ? character : visible(character)).join("");

// ---- reading the text

function readId(ids, before) {
  const state = before.state.slice(), logits = new Float32Array(network.vocabSize);
  for (const id of ids) network.step(id, state, logits);
  return {state, logits, values: pack(network.values(state))};
}

// A text field limits what is typed, but not what a program sets. The last character may not be cut in half.
function setText(text) { byId("text").value = text.slice(0, byId("text").maxLength).replace(/[\ud800-\udbff]$/, ""); }

// Read the text from the first character that changed.
async function readText() {
  const mine = ++reading, characters = alphabet.encode(byId("text").value);
  const leftOut = new Set(Array.from(byId("text").value).filter(character => !alphabet.knows(character)));
  byId("left-out").textContent = leftOut.size ? `Not in the alphabet, and left out: ${Array.from(leftOut, visible).join(" ")}` : "";
  let same = 0;
  while (same < read.length && same < characters.length && read[same].character === characters[same].character) same++;
  read.length = same;
  let until = performance.now() + SLICE;
  for (const {character, ids} of characters.slice(same)) {
    const before = read.length ? read[read.length - 1] : {state: startState()};
    read.push({character, ...readId(ids, before)});
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
const startState = () => model.end_id === null ? network.initialState() : start.state;

function restart() {
  start = readId(model.opening_ids, {state: network.initialState()});
  read = [];
  return readText();
}

const shown = () => here < 0 ? start : read[here];

// ---- drawing

function paintText() {
  here = Math.min(wanted, read.length - 1);
  const spans = byId("read");
  while (spans.childNodes.length > read.length) spans.lastChild.remove();
  read.forEach((one, index) => {
    const span = spans.childNodes[index] || spans.appendChild(create("span"));
    const text = inText(one.character);
    if (span.textContent !== text) span.textContent = text;
    span.className = shade(one.values[chosen] / 127) + (index === here ? " here" : "");
  });
  const followed = model.found.find(({cell}) => cell === chosen);
  byId("caption").textContent = `cell ${nameOf(chosen)} (${model.shows})` + (followed ? `, which follows ${followed.name}` : "");
  paintNext();
  paintCells();
  showCommand();
}

function select(index) {
  wanted = index === read.length - 1 ? Infinity : index;
  paintText();
}

function paintNext() {
  const {logits} = shown(), weights = new Float64Array(logits.length), total = weigh(logits, 1, alphabet.isBanned, weights);
  const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a] || a - b).slice(0, NUM_BARS).filter(id => weights[id] > 0);
  byId("after").textContent = here < 0 ? "At the beginning, at temperature 1:" : `After \u201c${read.slice(Math.max(0, here - 11), here + 1).map(one => visible(one.character)).join("")}\u201d, at temperature 1:`;
  byId("next").replaceChildren(...best.map(id => {
    const item = create("li"), share = weights[id] / total, bar = create("i"), character = model.characters[id];
    const isByte = model.alphabet === "byte" && id > 127;
    const name = id === model.end_id ? "end" : isByte ? `byte ${id.toString(16)}` : visible(character);
    const button = create("button", name, {"aria-label": `Type ${name}: ${percent(share)}`, title: "Type it"});
    button.disabled = isByte || id === model.end_id || character === "\r";  // a text field has newlines only
    button.addEventListener("click", () => { setText(read.slice(0, here + 1).map(one => one.character).join("") + character); wanted = Infinity; readText(); });
    bar.style.width = `${100 * share}%`;
    item.append(button, bar, create("span", percent(share)));
    return item;
  }));
}

const cellButtons = [];
function makeCells() {
  for (let layer = 0; layer < model.num_layers; layer++) {
    const grid = create("div", "", {class: "cells", role: "listbox", "aria-label": `Cells of layer ${layer}`});
    for (let unit = 0; unit < model.hidden_size; unit++) {
      const cell = layer * model.hidden_size + unit, button = create("button", "", {type: "button", role: "option", tabindex: "-1", "aria-label": `cell ${nameOf(cell)}`});
      button.addEventListener("click", () => choose(cell));
      cellButtons.push(button);
      grid.append(button);
    }
    if (model.num_layers > 1) byId("layers").append(create("span", `layer ${layer}`, {class: "faint"}));
    byId("layers").append(grid);
  }
  byId("layers").addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS}[event.key];
    if (!step || chosen + step < 0 || chosen + step >= numCells) return;
    event.preventDefault();
    choose(chosen + step);
    cellButtons[chosen].focus();
  });
}

// The cells that charrnn visualize found, best first.
function makeFound() {
  byId("found").hidden = !model.found.length;
  byId("found").replaceChildren(...model.found.map(({name, cell}) => {
    const button = create("button", `${nameOf(cell)} ${name}`, {type: "button", "aria-label": `Cell ${nameOf(cell)} follows ${name}`});
    button.addEventListener("click", () => choose(cell));
    return button;
  }));
}

function paintCells() {
  const {values} = shown();
  cellButtons.forEach((button, cell) => {
    const isClamped = network.clamps[Math.floor(cell / model.hidden_size)].has(cell % model.hidden_size);
    button.className = shade(values[cell] / 127) + (isClamped ? " clamped" : "");
    button.setAttribute("aria-selected", cell === chosen);
    button.tabIndex = cell === chosen ? 0 : -1;
    button.title = `${nameOf(cell)}: ${short(values[cell] / 127)}`;
  });
  [...byId("found").children].forEach((button, index) => button.setAttribute("aria-pressed", model.found[index].cell === chosen));
  byId("value").textContent = short(values[chosen] / 127);
}

function choose(cell) {
  chosen = cell;
  byId("cell").value = nameOf(cell);
  const value = clampOf(cell);
  byId("is-clamped").checked = value !== null;
  if (value !== null) byId("clamp").value = value;
  byId("clamp-value").textContent = short(Number(byId("clamp").value));
  paintText();
  paintWritten(0);
}

// ---- clamps: text of a number to the memory that has that value

const clampTexts = new Map();  // cell to the value as it is typed: "0.35"
const clampOf = cell => clampTexts.has(cell) ? clampTexts.get(cell) : null;

function clamp(cell, text) {
  stop();  // a text has the same clamps from its beginning to its end
  const layer = Math.floor(cell / model.hidden_size), unit = cell % model.hidden_size;
  if (text === null) { clampTexts.delete(cell); network.clamps[layer].delete(unit); }
  else {
    const index = Math.round((Number(text) + 1) * (model.memories.length - 1) / 2);
    clampTexts.set(cell, String((index - (model.memories.length - 1) / 2) / ((model.memories.length - 1) / 2)));
    network.clamps[layer].set(unit, model.memories[index]);
  }
  byId("clamps").replaceChildren(...Array.from(clampTexts, ([other, value]) => {
    const button = create("button", `${nameOf(other)} = ${short(Number(value))} \u00d7`, {type: "button", "aria-label": `Release cell ${nameOf(other)}`});
    button.addEventListener("click", () => { clamp(other, null); choose(chosen); });
    return button;
  }));
  return restart();
}

function clampChosen() {
  byId("clamp-value").textContent = short(Number(byId("clamp").value));
  if (byId("is-clamped").checked || clampOf(chosen) !== null) clamp(chosen, byId("is-clamped").checked ? byId("clamp").value : null);
}

// ---- generating

function options() {
  return {temperature: Number(byId("temperature").value), seed: byId("seed").value, length: Number(byId("length").value)};
}

// All that a text depends on.
const settings = () => ({...options(), text: byId("text").value, prime: read.map(one => one.character).join(""), clamps: [...clampTexts]});

// The text that the page opens with is written slowly enough to be watched, unless the reader prefers less motion.
async function open() {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  await write({most: isStill ? MOST_AT_ONCE : 1, isOpening: true});
}

async function write({most = MOST_AT_ONCE, isOpening = false} = {}) {
  stop();
  if (!byId("options").reportValidity()) return;
  if (!(await readText())) return;
  const {state, logits} = read.length ? read[read.length - 1] : start;
  const used = settings(), mine = writer = new Writer(network, alphabet, {...used, state, logits});
  written = {prime: used.prime, pieces: [], values: [], settings: used};
  showCommand();
  byId("written").replaceChildren();
  if (written.prime) byId("written").append(create("span", inText(written.prime), {class: "prime"}));
  paintWritten(0);
  if (!isOpening) remember();  // the address of an untouched page stays as it is
  byId("stop").disabled = false;
  const began = performance.now();
  let painted = 0;
  while (writer === mine && !mine.isDone) {
    const until = performance.now() + SLICE;
    for (let count = 0; !mine.isDone && count < most && performance.now() < until; count++) {
      written.pieces.push(mine.next());
      written.values.push(pack(network.values(mine.state)));
    }
    paintWritten(painted);
    painted = written.pieces.length;
    const seconds = (performance.now() - began) / 1000;
    const speed = seconds > 0 && !isOpening ? `, ${Math.round(painted / seconds).toLocaleString("en")} per second` : "";
    byId("progress").textContent = `${(painted - mine.isDone).toLocaleString("en")} characters${speed}`;
    await pause(most < MOST_AT_ONCE ? SLICE : 0);
  }
  if (writer === mine) { writer = null; byId("stop").disabled = true; }
  byId("copy").disabled = false;
  document.body.dataset.done = mine.isDone;
}

// A text that is stopped is that of a smaller length.
function stop() {
  if (writer && !writer.isDone) {
    written.settings.length = written.pieces.length;
    written.pieces.push(writer.decoder.finish());
    written.values.push(pack(network.values(writer.state)));
    paintWritten(written.settings.length);
    showCommand();
    remember();
  }
  writer = null;
  byId("stop").disabled = true;
  document.body.dataset.done = false;
}

// Draw the generated text from a piece on; neighbours of one shade are one element.
function paintWritten(from) {
  const element = byId("written"), first = written.prime ? 1 : 0;
  if (!from) while (element.childNodes.length > first) element.lastChild.remove();
  const isAtEnd = element.scrollTop + element.clientHeight > element.scrollHeight - 40;
  let last = element.childNodes.length > first ? element.lastChild : null;
  for (let i = from; i < written.pieces.length; i++) {
    const name = shade(written.values[i][chosen] / 127), text = inText(written.pieces[i]);
    if (last && last.className === name) last.textContent += text;
    else last = element.appendChild(create("span", text, {class: name}));
  }
  if (isAtEnd && from) element.scrollTop = element.scrollHeight;
}

// Where a browser gives a local file no clipboard, the text is selected instead.
async function copyText() {
  try {
    await navigator.clipboard.writeText(written.prime + written.pieces.join(""));
    byId("progress").textContent = "Copied.";
  } catch (error) {
    document.getSelection().selectAllChildren(byId("written"));
    byId("progress").textContent = "Selected: press Ctrl-C to copy it.";
  }
}

// ---- restoring a compressed file

const MOST_SHOWN = 2000;  // bytes of a restored text
let opening = 0;  // the latest file; the next one, and Cancel, end it
// The timers of a hidden page wait for a second or more.
const breathe = () => !document.hidden ? pause() : new Promise(resolve => {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => { port1.close(); resolve(); };
  port2.postMessage(null);
});

function tell(text, {isError = false, isBusy = false} = {}) {
  byId("opened").textContent = inText(text);
  byId("opened").className = isError ? "error" : "";
  byId("restoring").hidden = byId("cancel").hidden = !isBusy;
}

// Forget the file before.
function closeFile(text) {
  byId("open").open = true;
  opening++;
  for (const link of byId("saved").children) URL.revokeObjectURL(link.href);
  byId("saved").replaceChildren();
  byId("restored").hidden = true;
  byId("restoring").value = 0;
  tell(text, {isBusy: !text});
}

async function openFiles(files) {
  if (!files.length) return;
  closeFile("");
  const mine = opening, {name} = files[0];
  try {
    if (files.length > 1) throw new Error("Open one file at a time.");
    tell(`Restoring ${name}:`, {isBusy: true});
    byId("restoring").scrollIntoView({block: "nearest"});
    const buffer = await files[0].arrayBuffer().catch(() => { throw new Error(`${name} cannot be read.`); });
    const steps = decompress(network, model, name, new Uint8Array(buffer));
    let until = performance.now() + SLICE, step;
    for (let count = 1; mine === opening && !(step = steps.next()).done; count++) {
      if (count % MOST_AT_ONCE && performance.now() < until) continue;
      byId("restoring").value = step.value / buffer.byteLength;
      await breathe();
      until = performance.now() + SLICE;
    }
    if (mine === opening) showRestored(name, buffer.byteLength, step.value);
  } catch (error) {
    if (mine === opening) tell(error.message, {isError: true});
  }
}

function showRestored(name, size, rows) {
  const text = new Blob(rows, {type: "application/octet-stream"}), saved = name.replace(/\.crnn$/i, "") || "restored";
  tell(`${inWords(text.size)} bytes from ${inWords(size)}.`);
  byId("saved").append(create("a", `Save ${inText(saved)}`, {download: saved, href: URL.createObjectURL(text)}));
  byId("restored").hidden = !text.size;
  if (text.size) byId("restored").textContent = inText(new TextDecoder().decode(rows[0].subarray(0, MOST_SHOWN), {stream: true}));
  if (text.size > MOST_SHOWN) byId("restored").append(" \u2026");
}

function cancel() { if (!byId("cancel").hidden) closeFile("Cancelled."); }

function acceptFiles() {
  for (const name of ["dragover", "drop"]) {
    document.addEventListener(name, event => {
      if (!event.dataTransfer.types.includes("Files")) return;  // a text that is dragged
      event.preventDefault();
      if (name === "drop") openFiles([...event.dataTransfer.files]);
    });
  }
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", () => {
    openFiles([...byId("file").files]);
    byId("file").value = "";  // so that the same file can be chosen again
  });
  byId("cancel").addEventListener("click", cancel);
}

// ---- the command line, and the address, that give the same text

function quote(text) {
  if (/^[\w.,:=+/@%-]+$/.test(text)) return text;
  if (/^[^\p{C}']*$/u.test(text)) return `'${text}'`;
  return "$'" + Array.from(text, character => ({"\n": "\\n", "\t": "\\t", "'": "\\'", "\\": "\\\\"})[character] ||
    (/\p{C}/u.test(character) ? "\\U" + character.codePointAt(0).toString(16).padStart(8, "0") : character)).join("") + "'";
}

// The command of the text that is shown, which later edits do not change; before there is one, that of the next.
function showCommand() {
  const {temperature, seed, length, prime, clamps} = written.settings || settings();
  const run = model.run.startsWith("-") ? `./${model.run}` : model.run;  // else the command reads options
  const words = ["charrnn sample", quote(run), `--temp ${temperature} --seed ${seed} --length ${length}`];
  if (prime) words.push("--prime=" + quote(prime));
  for (const [cell, value] of clamps) words.push(`--clamp ${nameOf(cell)}=${value}`);
  byId("command").textContent = words.join(" ");
}

// The address of the text that is shown.
function remember() {
  const {temperature, seed, length, text, clamps} = written.settings, address = new URLSearchParams({text, temp: temperature, seed, length, cell: nameOf(chosen)});
  for (const [cell, value] of clamps) address.append("clamp", `${nameOf(cell)}=${value}`);
  history.replaceState(null, "", "#" + address);
}

function cellOf(name) {
  const found = /^(\d+):(\d+)$/.exec(name);
  if (!found || Number(found[1]) >= model.num_layers || Number(found[2]) >= model.hidden_size) return null;
  return Number(found[1]) * model.hidden_size + Number(found[2]);
}

async function followAddress() {
  const followed = location.hash, address = new URLSearchParams(followed.slice(1));
  stop();
  history.replaceState(null, "", followed);  // not that of the text that was stopped
  if (address.has("text")) setText(address.get("text"));
  for (const [name, id] of [["temp", "temperature"], ["seed", "seed"], ["length", "length"]]) if (address.has(name)) byId(id).value = address.get(name);
  for (const cell of [...clampTexts.keys()]) clamp(cell, null);
  for (const entry of address.getAll("clamp")) {
    const [name, text] = entry.split("="), cell = cellOf(name);
    if (cell !== null && Math.abs(Number(text)) <= 1) clamp(cell, text);
  }
  await restart();
  choose(cellOf(address.get("cell") || "") ?? (model.found.length ? model.found[0].cell : 0));
  if (address.has("write")) await write();
}

// ---- at the beginning

function listen() {
  byId("text").addEventListener("input", readText);
  byId("read").addEventListener("click", event => {
    const index = [...byId("read").childNodes].indexOf(event.target);
    if (index >= 0) select(index);
  });
  byId("read").addEventListener("keydown", event => {
    const to = {ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: read.length - 1}[event.key];
    if (to === undefined || to < -1 || to >= read.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    select(to);
  });
  byId("cell").addEventListener("change", () => { const cell = cellOf(byId("cell").value.trim()); choose(cell === null ? chosen : cell); });
  byId("is-clamped").addEventListener("change", clampChosen);
  byId("clamp").addEventListener("input", clampChosen);
  byId("options").addEventListener("input", showCommand);
  byId("options").addEventListener("submit", event => { event.preventDefault(); write(); });
  byId("another").addEventListener("click", () => { if (byId("seed").reportValidity()) { byId("seed").value = BigInt(byId("seed").value) + 1n; write(); } });
  byId("stop").addEventListener("click", stop);
  byId("copy").addEventListener("click", copyText);
  document.addEventListener("keydown", event => { if (event.key === "Escape") { stop(); cancel(); } });
  window.addEventListener("hashchange", followAddress);
}

async function begin() {
  document.title = `${inText(model.name)} \u00b7 charrnn`;
  byId("name").textContent = inText(model.name);
  byId("about").textContent = inText(model.about);
  byId("facts").textContent = model.rows.map(([name, value]) => `${name} ${inText(value)}`).join(" \u00b7 ");
  byId("letters-summary").textContent = `Alphabet of ${model.symbols}`;
  byId("letters").textContent = model.characters.filter(character => character && character !== "\0").map(visible).join(" ");
  for (let i = 0; i <= 20; i++) byId("scale").append(create("span", "\u00a0", {class: shade(i / 10 - 1)}));
  byId("scale").prepend("\u22121 ");
  byId("scale").append(" +1");
  byId("text").maxLength = Math.min(5000, Math.floor(MAX_BYTES / bytesPerCharacter));
  byId("length").max = Math.min(20000, Math.floor(MAX_BYTES / numCells));
  byId("cells-about").textContent = `The value of each cell (${model.shows}) after that character. Choose one: it colours the texts.`;
  network = new Network(model, await unpackArrays(model, byId("weights").textContent.trim()));
  makeFound();
  makeCells();
  listen();
  acceptFiles();
  const isUntouched = !location.hash;
  await followAddress();
  if (isUntouched) await open();
}

begin().catch(error => {
  byId("problem").hidden = false;
  byId("problem").textContent = `The model cannot be run: ${error.message}. A browser of 2023 or later is needed.`;
});
