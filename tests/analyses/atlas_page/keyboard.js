// A walk through the page by its keys, and what is seen on the way.
const press = (element, key, shiftKey = false) =>
  element.dispatchEvent(new KeyboardEvent("keydown", {key, shiftKey, bubbles: true, cancelable: true}));
const found = {};

// The layout.
found.top = spans[0].getBoundingClientRect().top;
found.overflow = document.documentElement.scrollWidth - window.innerWidth;
const boxes = spans.map(span => span.getClientRects()[0]);
const gaps = boxes.slice(1).map((box, i) => box.top > boxes[i].top ? box.top - boxes[i].bottom : 0);
found.stripes = Math.max(...gaps);

// The text.
byId("text").focus();
for (let i = 0; i < 10; i++) press(byId("text"), "ArrowRight");
found.about = byId("about").textContent.replace(/[\u2068\u2069]/g, "");
for (let i = 0; i < 4; i++) press(byId("text"), "ArrowRight", true);
found.picked = picked;
press(byId("text"), "ArrowDown");
found.below = here;
press(byId("text"), "Escape");
found.none = picked;

// The table of all cells.
byId("tab-cells").click();
found.tab = [byId("panel-cells").hidden, byId("panel-found").hidden];
byId("filter").value = "score>0.5 rule";
byId("filter").dispatchEvent(new Event("input"));
const shown = () => [...byId("cell-rows").children].filter(tr => !tr.hidden);
found.filtered = shown().map(tr => tr.children[0].textContent);
byId("cell-columns").children[2].firstChild.click();
found.sorted = shown().map(tr => tr.children[0].textContent);
found.order = [...byId("cell-columns").children].map(th => th.getAttribute("aria-sort"));
shown()[1].querySelector("a").click();
await new Promise(resolve => setTimeout(resolve, 100));
found.chosen = [data.cells[chosen].name, location.hash];

// The map, and the page of a cell.
byId("tab-map").click();
dots[64].dispatchEvent(new MouseEvent("click", {bubbles: true}));
await new Promise(resolve => setTimeout(resolve, 100));
found.clicked = data.cells[chosen].name;
byId("tab-cell").click();
found.page = byId("panel-cell").innerText;

// What a reader of the screen needs.
const controls = document.querySelectorAll("button, input, a, table, [tabindex='0']");
const isNamed = one => one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length;
found.unnamed = [...controls].filter(one => !isNamed(one)).map(one => one.outerHTML);
return found;
