// Parameters: addresses. What is chosen, painted and underlined at each address, one after the other.
const chosenRows = () => {
  const rows = [...byId("rows").children];
  return rows.flatMap((tr, index) => tr.getAttribute("aria-current") === "true" ? [index] : []);
};
const colourOf = span => getComputedStyle(span).backgroundColor.match(/[0-9.]+/g).map(Number);

const found = [];
for (const address of parameters.addresses) {
  if (address) location.hash = address;
  await new Promise(resolve => setTimeout(resolve, 100));
  const numInside = byId("text").querySelectorAll(".inside").length;
  const caption = byId("caption").textContent;
  found.push({rows: chosenRows(), colours: spans.map(colourOf), numInside, caption});
}
return found;
