// Known words: the switch, and the command and the address of a text with and without them.
(async () => {
  const found = {};
  const generate = async () => {
    byId("write").click();
    await wait();
    return {
      text: written.prime + written.pieces.join(""),
      command: byId("command").textContent,
      address: location.hash,
    };
  };
  await untilOpen();
  found.isOffered = !byId("words-choice").hidden;
  typeInto("text", "bad ca");
  typeInto("length", 300);
  await wait();
  found.known = await generate();
  byId("known-words").click();
  found.any = await generate();
  answer(found);
})();
