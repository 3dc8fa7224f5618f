"use strict";
// Sorts the rows of each table by a click on a heading, and shows those that contain the words of a filter.

const SHORT = 8; // rows; a table with fewer has no filter

function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replace(/^[<>]\s*/, ""));
  return text === "" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [valueOf(row, column), row]);
  rows.sort(([a], [b]) => {
    // Empty cells come last in both directions.
    if (a === null || b === null) return (a === null) - (b === null);
    return down ? compare(b, a) : compare(a, b);
  });
  body.append(...rows.map(([, row]) => row));
}

function addFilter(table, number) {
  const rows = Array.from(table.tBodies[0].rows);
  if (rows.length < SHORT) return;
  const texts = new Map(rows.map((row) => [row, Array.from(row.cells, (cell) => cell.textContent.trim()).join(" ").toLowerCase()]));
  const label = document.createElement("label");
  const input = document.createElement("input");
  const shown = document.createElement("output");
  input.type = "search";
  input.id = `filter${number}`;
  label.htmlFor = input.id;
  label.textContent = "Filter";
  input.setAttribute("aria-description", "Rows that contain all of these words");
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [row, text] of texts) {
      const fits = words.every((word) => text.includes(word));
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  input.addEventListener("input", show);
  show();
  const line = document.createElement("div");
  line.className = "filter";
  line.append(label, input, shown);
  table.closest(".scroll").before(line);
}

document.querySelectorAll("table[data-sorts]").forEach((table, number) => {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const first = table.tBodies[0].rows[0];
    if (first && first.cells[column].classList.contains("n")) heading.classList.add("n");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sortBy(table, column, heading));
  });
  addFilter(table, number);
});
