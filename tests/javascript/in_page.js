// What the programs that tests add to a page share. Each leaves its answer in the page.
"use strict";

const wait = (time = 200) => new Promise(resolve => setTimeout(resolve, time));

function answer(found) {
  document.body.dataset.answer = JSON.stringify(found);
}

function pressKey(element, key) {
  element.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
}

function typeInto(name, value) {
  byId(name).value = value;
  byId(name).dispatchEvent(new Event("input", {bubbles: true}));
}

function nextButton() {
  return byId("next").querySelector("button:enabled");
}

function shownState() {
  const {text, read, after, caption, value, command, next} = Object.fromEntries(
    ["text", "read", "after", "caption", "value", "command", "next"].map(name => [name, byId(name)]));
  return {
    text: text.value,
    read: read.textContent,
    after: after.textContent,
    caption: caption.textContent,
    value: value.textContent,
    command: command.textContent,
    bars: [...next.children].map(item => item.firstChild.textContent),
  };
}
