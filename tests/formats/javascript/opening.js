// Look at a page that nobody has touched, twice while it writes.
(async () => {
  const found = {};
  await untilOpen();
  found.begun = written.pieces.join("");
  await wait(1000);
  found.later = written.pieces.join("");
  found.about = byId("about").textContent;
  found.address = location.hash;
  answer(found);
})();
