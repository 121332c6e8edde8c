// The command beside a text: of a text that a clamp stops, and after an edit.
(async () => {
  const found = {};
  const command = () => byId("command").textContent;
  await untilOpen();
  typeInto("text", "ab");
  typeInto("length", 20000);
  byId("clamp").value = "-0.5";
  await wait();
  byId("write").click();
  await wait(20);
  byId("is-clamped").click();
  await wait();
  found.text = written.prime + written.pieces.join("");
  found.stopped = command();
  found.address = location.hash;

  typeInto("text", "a");
  typeInto("length", 7);
  await wait();
  found.edited = command();
  byId("write").click();
  await wait();
  found.next = command();
  answer(found);
})();
