"use strict";

// Tables come in the hunt's order; a click on a column's head sorts, another one turns the order around.
function value(row, column) {
  const cell = row.cells[column];
  return "number" in cell.dataset ? Number(cell.dataset.number) : cell.dataset.sort ?? cell.textContent;
}

function sort(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, value: value(row, column) }));
  // Sorting is stable: rows of one value keep their order.
  rows.sort((one, two) => {
    const order = one.value < two.value ? -1 : one.value > two.value ? 1 : 0;
    return descending ? -order : order;
  });
  body.append(...rows.map(({ row }) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!("sorts" in head.dataset)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}

function makeFilterable(section) {
  const [table, filter] = [section.querySelector("table"), section.querySelector(".filter")];
  const [input, output] = [filter.querySelector("input"), filter.querySelector("output")];
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    rows.forEach(({ row, text }) => { row.hidden = !text.includes(wanted); });
    const shown = rows.filter(({ row }) => !row.hidden).length;
    output.value = wanted ? `${shown} of ${rows.length} rows` : "";
  });
  filter.hidden = false;
}

// A link leads to its row even if a filter hid it.
function show(event) {
  const anchor = event.target.closest?.("a[href^='#']");
  const row = anchor && document.getElementById(anchor.hash.slice(1));
  if (!row?.hidden) return;
  const input = row.closest("section").querySelector(".filter input");
  input.value = "";
  input.dispatchEvent(new Event("input"));
}

for (const section of document.querySelectorAll("section")) {
  const table = section.querySelector("table");
  if (!table) continue;
  makeSortable(table);
  makeFilterable(section);
}
document.addEventListener("click", show);
