"use strict";
// What all pages share: elements, the shades of values, and the cell that colours a text.

const byId = name => document.getElementById(name);
// In a copy that a browser has saved, what was shown is there already: each page begins anew.
byId("shown").replaceChildren(byId("page").content.cloneNode(true));

function fill(element, text, attributes) {
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function create(tag, text = "", attributes = {}) {
  return fill(document.createElement(tag), text, attributes);
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

// Say which cell colours the text, and what red and blue are: `range` is the value of the strongest blue. A cell that is
// low inside what it follows is drawn with its sign turned, so that the inside is blue.
function showCaption({cell, shows, detector, range}) {
  let caption = `cell ${cell} (${shows})`;
  if (detector) caption += `, which follows ${detector}`;
  if (range < 0) caption += ", drawn with its sign turned";
  byId("caption").textContent = caption;
  byId("red").textContent = minus(`${-range} `);
  byId("blue").textContent = minus(` ${range}`);
}

// A minus is as wide as a plus; a hyphen between two words stays one.
const minus = text => text.replace(/(^|[^\p{L}\d])-(?=[.\d])/gu, "$1\u2212");
// A number that is rounded to 0 has no sign.
const fixed = (number, digits) => minus(number.toFixed(digits)).replace(/^\u2212([0.]+)$/, "$1");

// The scale beside the caption.
for (let i = 0; i <= 20; i++) byId("shades").append(create("span", "\u00a0", {class: shade(i / 10 - 1)}));
