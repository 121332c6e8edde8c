// How many rows of the screen the longest line of the text takes, and each number of the table of findings.
const rowsOf = element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return new Set([...range.getClientRects()].map(box => box.top)).size;
};
const [first] = data.breaks;
const line = spans.slice(0, first + 1).map(span => span.getClientRects()[0].top);
return {line: new Set(line).size, numbers: [...byId("rows").querySelectorAll("td + td")].map(rowsOf)};
