// Stop a long text, and write another.
(async () => {
  const found = {};
  await untilOpen();
  typeInto("text", "ab");
  byId("length").value = 20000;
  byId("write").click();
  await wait(20);
  pressKey(document, "Escape");
  await wait();
  found.stopped = {done: document.body.dataset.done, numChars: written.pieces.length};
  byId("length").value = 5;
  byId("seed").value = 2;
  byId("write").click();
  await wait();
  found.another = {seed: byId("seed").value, text: written.pieces.join(""), address: location.hash};
  answer(found);
})();
