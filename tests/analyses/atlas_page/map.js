// The names on the map, its colours, and the numbers of the table of all cells.
byId("tab-map").click();
const boxes = [...byId("map").querySelectorAll("text")].map(text => text.getBoundingClientRect());
const touch = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 6 && b.top < a.bottom - 6;
const found = {names: boxes.length};
found.overlaps = boxes.filter((one, index) => boxes.slice(index + 1).some(other => touch(one, other))).length;
found.fills = new Set(dots.map(dot => dot.style.fill)).size;
byId("tab-cells").click();
found.numbers = [...byId("cell-rows").children].map(tr => tr.children[2].textContent).filter(Boolean);
found.overflow = document.documentElement.scrollWidth - window.innerWidth;
const table = byId("cell-rows").closest(".wide");
found.cut = table.scrollWidth - table.clientWidth;
return found;
