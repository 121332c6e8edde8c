// Parameters: begin, end. What a selection of these characters finds.
const {begin, end} = parameters;
document.getSelection().setBaseAndExtent(spans[begin].firstChild, 0, spans[end - 1].firstChild, 1);
await new Promise(resolve => setTimeout(resolve, 600));
const cells = tr => [...tr.children].slice(0, 2).map(td => td.textContent);
const table = [...byId("on").querySelectorAll("tbody tr")].map(cells);
const ends = line => [Number(line.dataset.begin), Number(line.dataset.end)];
const others = [...byId("panel-span").querySelectorAll("[data-begin]")].map(ends);
return {table, others, picked, isOpen: !byId("panel-span").hidden};
