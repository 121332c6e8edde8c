// What the programs that tests add to a page share. Each leaves its answer in the page.
"use strict";

const wait = (time = 200) => new Promise(resolve => setTimeout(resolve, time));

// The page is open once it shows a cell. The browser unpacks the weights meanwhile, which its clock does not wait for:
// messages take none of its time.
async function untilOpen() {
  while (!byId("caption").textContent && byId("problem").hidden) {
    await new Promise(resolve => {
      const {port1, port2} = new MessageChannel();
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
  }
  await wait();
}

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
