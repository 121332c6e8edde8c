// The text alone, the end of a line, and what a telephone types.
(async () => {
  const found = {};
  const look = () => ({
    isAlone: document.body.classList.contains("alone"),
    label: byId("alone").textContent,
    isCellsShown: byId("layers").getClientRects().length > 0,
    isTextShown: byId("written").getClientRects().length > 0,
    text: written.prime + written.pieces.join(""),
    address: location.hash,
    command: byId("command").textContent,
  });
  await untilOpen();
  await wait(1000);
  found.opened = look();
  byId("another").click();
  await wait(1000);
  found.another = look();
  byId("alone").click();
  found.laboratory = look();

  typeInto("text", "\u201cab\u201d \u2013 it\u2019s\u2026 \u00e9");
  await wait();
  found.read = byId("read").textContent;
  found.leftOut = byId("left-out").textContent;
  typeInto("text", "ab");
  typeInto("seed", "3");
  byId("ends-line").click();
  await wait();
  byId("length").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
  await wait();
  found.line = look();

  // A translator wraps texts in elements of its own.
  const wrapper = document.createElement("font");
  const first = byId("read").firstChild;
  wrapper.append(first.firstChild);
  first.append(wrapper);
  wrapper.click();
  found.after = byId("after").textContent;
  answer(found);
})();
