// Drop compressed files on the page. GIVEN: files in base 64 by name.
(async () => {
  const found = {};
  const usualBlob = Blob;
  let saved = null;
  window.Blob = function (rows, options) {
    saved = rows;
    return new usualBlob(rows, options);
  };
  // The clock does not wait for what is read from a real file.
  File.prototype.arrayBuffer = async function () {
    return Uint8Array.from(atob(GIVEN[this.name]), one => one.charCodeAt(0)).buffer;
  };
  const transfer = name => {
    const all = new DataTransfer();
    all.items.add(new File(["not read"], name));
    return all;
  };
  const drop = name => document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer(name)}));
  const opened = () => ({
    message: byId("opened").textContent,
    kind: byId("opened").className,
    isCancelHidden: byId("cancel").hidden,
    text: byId("restored").hidden ? null : byId("restored").textContent,
    downloads: Array.from(byId("saved").children, link => link.download),
  });

  await untilOpen();
  byId("is-clamped").click();  // a clamp does not change what is restored
  Object.defineProperty(document, "hidden", {value: true, configurable: true});
  drop("a.txt.crnn");
  await wait();
  found.restored = opened();
  found.saved = btoa(String.fromCharCode(...saved.flatMap(row => [...row])));
  delete document.hidden;

  drop("a.txt.crnn");
  while (!byId("restoring").value) await pause();
  found.isCancelHidden = byId("cancel").hidden;
  pressKey(document, "Escape");
  await wait();
  found.cancelled = opened();

  byId("file").files = transfer("b.crnn").files;
  byId("file").dispatchEvent(new Event("change"));
  await wait();
  found.damaged = opened();
  answer(found);
})();
