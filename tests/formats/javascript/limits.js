// Texts that are too long, and half a character in the address.
(async () => {
  const found = {};
  await untilOpen();
  byId("text").maxLength = 3;
  typeInto("text", "aba");
  await wait();
  nextButton().click();
  await wait();
  found.clicked = [byId("text").value, byId("read").textContent];
  location.hash = "text=ab\u{1f642}";
  await wait();
  found.followed = [byId("text").value, byId("read").textContent];
  answer(found);
})();
