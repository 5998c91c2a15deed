"use strict";
// Search and sort the table of tensors.  Without this script, all of it is there, unsorted.
(() => {
  for (const part of document.querySelectorAll(".scripted")) part.classList.remove("scripted");
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const all = Array.from(body.rows);
  const texts = new Map(all.map((row) =>
    [row, Array.from(row.cells).slice(0, 3).map((cell) => cell.textContent).join(" ").toLowerCase()]));

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    for (const row of all) {
      const text = texts.get(row);
      row.hidden = !words.every((word) => text.includes(word));
      number += row.hidden ? 0 : 1;
    }
    found.textContent = number === all.length ? `${number.toLocaleString("en")} tensors`
      : `${number.toLocaleString("en")} of ${all.length.toLocaleString("en")} tensors`;
  };
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });

  const compareTexts = new Intl.Collator("en", { numeric: true }).compare;
  const numberOf = (cell) => {
    const text = cell.dataset.n ?? cell.textContent.replaceAll(",", "");
    const number = Number.parseFloat(text.replace("inf", "Infinity"));
    return Number.isNaN(number) ? null : number;
  };
  const sort = (header) => {
    const column = header.cellIndex;
    const isNumber = header.dataset.sort === "number";
    const before = header.getAttribute("aria-sort");
    const order = before === (isNumber ? "descending" : "ascending") ? -1 : 1;
    const isAscending = isNumber === (order < 0);
    const keys = new Map(all.map((row) =>
      [row, isNumber ? numberOf(row.cells[column]) : row.cells[column].textContent]));
    const compare = (a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (!isNumber) return order * compareTexts(x, y);
      if (x === null || y === null) return (x === null) - (y === null);
      return x === y ? 0 : order * (y > x ? 1 : -1);  // infinite numbers have no difference
    };
    body.append(...all.sort(compare));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
  };
  for (const header of table.tHead.rows[0].cells) {
    if (!header.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(header));
    header.replaceChildren(button);
  }

  // A click on the map, or on "find" beside a scope, searches for its name.
  const find = (name) => {
    search.value = name;
    filter();
    document.getElementById("tensors").scrollIntoView();
  };
  for (const tile of document.querySelectorAll("g[data-find]")) {
    tile.addEventListener("click", () => find(tile.dataset.find));
  }
  for (const scope of document.querySelectorAll("code[data-find]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "find";
    button.setAttribute("aria-label", `find ${scope.dataset.find} in the table`);
    button.addEventListener("click", (event) => {
      event.preventDefault();
      find(scope.dataset.find);
    });
    scope.after(" ", button);
  }
})();
