// Choose cells, move in the text, and clamp a cell.
(async () => {
  const found = {};
  await untilOpen();
  found.found = [...byId("found").children].map(one => [one.textContent, one.getAttribute("aria-pressed")]);
  byId("found").children[1].click();
  found.opened = byId("caption").textContent;
  const { hidden_size } = model;
  found.shades = [16, hidden_size + 3].flatMap(cell => [-127, 127].map(packed => shadeOf(cell, packed)));
  location.hash = "cell=0:0";
  await wait();
  found.beginning = shownState();

  typeInto("text", "ab");
  await wait();
  found.typed = shownState();
  nextButton().click();
  await wait();
  found.clicked = shownState();
  pressKey(byId("read"), "ArrowLeft");
  found.moved = shownState();

  cellButtons[3].click();
  pressKey(cellButtons[3], "ArrowRight");
  found.chosen = shownState();
  byId("clamp").value = "-0.5";
  byId("is-clamped").click();
  await wait();
  found.clamped = shownState();
  byId("clamps").querySelector("button").click();
  await wait();
  found.released = shownState();
  answer(found);
})();
