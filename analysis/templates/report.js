// Sorts a table by the column whose heading is pressed, and filters its rows by words.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], rows = [...body.rows];
  if (rows.length < 2) continue;
  const heads = [...table.querySelectorAll("thead th:not(.head)")];
  const read = (row, column) => {
    const text = (row.cells[column].firstChild?.textContent ?? "").replace(/[⚠\s,]/g, "").replace("−", "-");
    return heads[column].dataset.text === undefined && /^-?[\d.]+(e[-+]?\d+)?$/.test(text) ? +text : text;
  };
  const compare = (a, b) => typeof a == typeof b ? (a > b) - (a < b) : typeof a == "number" ? -1 : 1;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const down = head.ariaSort == "ascending";
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = down ? "descending" : "ascending";
      const order = (a, b) => {
        const [x, y] = [read(a, column), read(b, column)];
        return typeof x == typeof y && down ? compare(y, x) : compare(x, y);
      };
      body.append(...[...rows].sort(order));
    };
  });
  if (rows.length < 10) continue;
  const input = document.createElement("input");
  input.className = "filter";
  input.type = "search";
  input.placeholder = input.ariaLabel = "Filter the rows, e.g. failed 0.1";
  input.oninput = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  };
  table.parentElement.before(input);
}
