// The report: sorting, filters, the panel, the theme. The page reads without it.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byKey = new Map(data.videos.map((video) => [video.key, video]));
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const count = document.getElementById("count");
  const find = (id) => document.getElementById(id);
  document.documentElement.classList.add("script");

  const recordOf = (video) => ({ ...data.methods[video.method].shared, ...video.record });
  const rows = Array.from(body.rows, (element) => {
    const video = byKey.get(element.id);
    const record = recordOf(video);
    return { element, video, record, text: `${record.name} ${record.video} ${record.reason}`.toLowerCase() };
  });
  const rowOf = new Map(rows.map((one) => [one.element.id, one]));

  // filters
  const wanted = { search: find("search"), method: find("method"), status: find("status"), offset: find("offset") };
  const matches = ({ video, record, text }) => {
    if (!text.includes(wanted.search.value.trim().toLowerCase())) return false;
    if (wanted.method && wanted.method.value !== "" && video.method !== Number(wanted.method.value)) return false;
    if (wanted.status.value && record.status !== wanted.status.value) return false;
    if (wanted.offset.value) {
      const [early, late] = wanted.offset.value.split(" ").map(Number);
      const ms = offsetMs(record);
      if (ms === null || (ms <= early && ms >= -late)) return false;
    }
    return true;
  };
  const filter = () => {
    let shown = 0;
    for (const one of rows) {
      one.element.hidden = !matches(one);
      shown += one.element.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  for (const control of Object.values(wanted)) if (control) control.addEventListener("input", filter);

  // sorting
  const valueOf = (element, column) => {
    const cell = element.cells[column];
    if (cell.dataset.v === undefined) return cell.textContent;
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  };
  const sort = (header, column) => {
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((one) => [valueOf(one.element, column), one.element]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // no number: last, whichever way
      const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return down ? -order : order;
    });
    body.append(...keyed.map(([, element]) => element));
  };
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    if (!header.hasAttribute("aria-sort")) return;
    const button = make("button", { type: "button" });
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(header, column));
  });

  // the panel
  const panel = find("panel");
  let open = null;
  const axesOf = (method) => {
    const template = find(`axes-${method}`);
    return template && { svg: template.content.firstElementChild, scale: data.axes[method] };
  };
  const show = (key) => {
    const one = rowOf.get(key);
    if (!one) return;
    open = key;
    const method = data.methods[one.video.method];
    const pictures = find(`pictures-${key}`);
    find("panel-title").textContent = data.methods.length > 1 ? `${one.record.name} (${method.label})` : one.record.name;
    fillPanel(find("panel-body"), {
      record: one.record, identity: method.identity, command: one.video.command, source: one.video.source,
      axes: axesOf(one.video.method), pictures: pictures && pictures.content.cloneNode(true), boxes: data.boxes[key],
    });
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    document.body.classList.add("panel-open");
    history.replaceState(null, "", `#${key}`);
  };
  const step = (by) => {
    const visible = Array.from(body.rows).filter((element) => !element.hidden).map((element) => element.id);
    const next = visible[visible.indexOf(open) + by];
    if (next) show(next);
  };
  panel.addEventListener("close", () => {
    document.body.classList.remove("panel-open");
    find("panel-body").replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
    const button = open && find(open).querySelector("button");
    if (button) button.focus();
  });
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.addEventListener("keydown", (event) => {
    if (event.target.matches("video, input")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  find("close").addEventListener("click", () => panel.close());
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  for (const one of rows) {
    const cell = one.element.cells[0];
    const button = make("button", { type: "button" }, cell.textContent);
    cell.replaceChildren(button);
    button.addEventListener("click", () => show(one.element.id));
  }

  find("print").addEventListener("click", () => window.print());
  themeSwitch(find("theme"));
  filter();
  const follow = () => show(location.hash.slice(1));
  window.addEventListener("hashchange", follow);
  follow();
})();
