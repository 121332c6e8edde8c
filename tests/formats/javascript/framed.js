// Write a text in a page that may be in a frame, and send it to the page around it.
(async () => {
  await untilOpen();
  typeInto("text", "ab");
  typeInto("length", 40);
  await wait();
  byId("write").click();
  await wait();
  const problem = byId("problem").hidden ? "" : byId("problem").textContent;
  const found = {text: written.prime + written.pieces.join(""), problem};
  answer(found);
  parent.postMessage(found, "*");
})();
