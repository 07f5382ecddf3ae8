"use strict";
// A video's panel: made of its record, its pictures where there are any, and its file where it can be played.

const SVG = "http://www.w3.org/2000/svg";
const FRAME_MS = 40; // offsets count frames at 25 a second

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function number(value, digits) {
  if (typeof value !== "number") return "–";
  return value.toFixed(digits).replace("-", "−");
}

function offsetMs(record) {
  if (typeof record.offset_ms === "number") return record.offset_ms;
  return typeof record.offset === "number" ? record.offset * FRAME_MS : null;
}

function offsetWords(record) {
  const ms = offsetMs(record);
  if (ms === null) return "no offset";
  if (Math.round(ms) === 0) return "audio and picture together (offset 0)";
  const frames = Math.abs(record.offset);
  return `audio ${ms > 0 ? "early" : "late"} by ${Math.abs(Math.round(ms))} ms (${frames} frame${frames === 1 ? "" : "s"})`;
}

function row(values, tag) {
  return make("tr", {}, ...values.map((value, index) => make(tag || "td", index ? { class: "n" } : {}, String(value))));
}

function tracksTable(record) {
  const mark = record.model === "mini" ? "~" : "";
  const head = ["track", "frames", "offset", `LSE-D${mark}`, `LSE-C${mark}`, "windows"];
  const headRow = row(head, "th");
  for (const cell of headRow.children) cell.setAttribute("scope", "col");
  const body = record.tracks.map((track) => row([
    track.track, `${track.first_frame}–${track.last_frame}`, number(track.offset, 0),
    number(track.lse_d, 3), number(track.lse_c, 3), track.n_windows]));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Face tracks" },
    make("table", {}, make("thead", {}, headRow), make("tbody", {}, ...body)));
}

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// The tracks' curves in a copy of the empty axes, whose scale came with them.
function curves(record, axes) {
  const drawn = axes.svg.cloneNode(true);
  const [left, top, right, bottom] = axes.scale.box;
  const [x0, x1] = axes.scale.x, [y0, y1] = axes.scale.y;
  const x = (value) => left + (value - x0) / (x1 - x0) * (right - left);
  const y = (value) => bottom + (value - y0) / (y1 - y0) * (top - bottom);
  record.tracks.filter((track) => track.curve.length).forEach((track, index) => {
    const vshift = (track.curve.length - 1) / 2;
    // column k is the shift k - vshift, and the offset is minus the best shift; null: a short track has none there
    const points = track.curve.map((value, k) => (value === null ? "" : `${x(vshift - k).toFixed(1)},${y(value).toFixed(1)}`))
      .filter(Boolean);
    drawn.append(shape("polyline", { points: points.join(" "), class: `curve s-m${index % 6}` }));
    const at = x(track.offset).toFixed(1);
    drawn.append(shape("line", { x1: at, x2: at, y1: top, y2: bottom, class: "curve-mark" }));
  });
  return make("figure", {}, drawn);
}

// The boxes of the frame that is shown, over a video that plays.
function player(source, boxes) {
  const video = make("video", { src: source, controls: true, preload: "metadata", playsinline: true });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const stage = make("div", { class: "stage" }, video, canvas);
  const note = make("p", { class: "quiet", hidden: true }, "This browser cannot play the file's format.");
  video.addEventListener("error", () => { stage.hidden = true; note.hidden = false; });
  const draw = () => {
    if (!boxes || !canvas.isConnected || !video.videoWidth) return;
    const shown = canvas.getBoundingClientRect();
    canvas.width = shown.width;
    canvas.height = shown.height;
    const scale = Math.min(shown.width / boxes.size[0], shown.height / boxes.size[1]);
    const left = (shown.width - boxes.size[0] * scale) / 2, top = (shown.height - boxes.size[1] * scale) / 2;
    const pen = canvas.getContext("2d");
    const frame = Math.floor(video.currentTime * boxes.rate + 1e-3);
    pen.font = "600 13px system-ui, sans-serif";
    for (const track of boxes.tracks) {
      const box = track.boxes && track.boxes[frame - track.first_frame];
      if (!box) continue;
      const [x1, y1, x2, y2] = box.map((value) => value * scale);
      const text = `track ${track.id}  ${number(track.confidence[frame - track.first_frame], 1)}`;
      pen.lineWidth = 2;
      pen.strokeStyle = "#56b4e9";
      pen.strokeRect(left + x1, top + y1, x2 - x1, y2 - y1);
      pen.fillStyle = "rgb(0 0 0 / 65%)";
      pen.fillRect(left + x1, top + y1, pen.measureText(text).width + 10, 18);
      pen.fillStyle = "#fff";
      pen.fillText(text, left + x1 + 5, top + y1 + 13);
    }
  };
  const loop = () => { draw(); if (canvas.isConnected && !video.paused) requestAnimationFrame(loop); };
  for (const event of ["loadeddata", "seeked", "pause"]) video.addEventListener(event, draw);
  video.addEventListener("play", loop);
  return make("div", {}, stage, note);
}

function list(pairs) {
  const found = make("dl", {});
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    found.append(make("dt", {}, name), make("dd", {}, String(value)));
  }
  return found;
}

function scoresOf(record) {
  const mark = record.model === "mini" ? "~" : "";
  const named = [["LSE-D" + mark, number(record.lse_d, 3)], ["LSE-C" + mark, number(record.lse_c, 3)]];
  if (typeof record.psnr === "number") named.push(["PSNR", number(record.psnr, 2) + " dB"]);
  if (typeof record.ssim === "number") named.push(["SSIM", number(record.ssim, 4)]);
  for (const [name, value] of Object.entries(record.scores || {})) named.push([name, number(value, 4)]);
  return named.map(([name, value]) => `${name} ${value}`).join(", ");
}

// item: {record, identity, command, source, axes, pictures (a node), boxes, prefix (before the offset)}
function fillPanel(body, item) {
  const record = item.record;
  body.replaceChildren();
  if (record.status === "ok") {
    const words = make(item.prefix ? "span" : "strong", {}, offsetWords(record));
    body.append(make("p", { class: "verdict" }, item.prefix, words, `; ${scoresOf(record)}`));
    if (record.model === "mini") body.append(make("p", { class: "quiet" }, "~ LSE-D and LSE-C are estimates of SyncNet's."));
  } else {
    body.append(make("p", { class: "error" }, `${record.status}: ${record.reason}`));
  }
  const seen = make("div", {}), drawn = make("div", {});
  if (item.source) seen.append(player(item.source, item.boxes));
  if (item.pictures) drawn.append(item.pictures);
  if (record.tracks.some((track) => track.curve.length) && item.axes) drawn.append(curves(record, item.axes));
  if (seen.firstChild && item.pictures) seen.append(drawn.querySelector(".crops"));
  body.append(make("div", { class: "panel-grid" }, seen.firstChild && seen, drawn.firstChild && drawn));
  if (record.tracks.length) body.append(tracksTable(record));
  const facts = [
    ["file", record.video], ["SHA-256", record.sha256], ["length", record.duration_s && `${number(record.duration_s, 2)} s`],
    ["frame rate", record.fps && number(record.fps, 3)], ["shots", record.shots.length],
    ["reference", record.reference && (record.reference.reference || record.reference.reason)],
    ["changed", record.changed.join("; ")],
  ];
  const details = make("div", { class: "panel-grid" });
  if (record.notes.length) {
    details.append(make("div", {}, make("h3", {}, "Notes"), make("ul", {}, ...record.notes.map((note) => make("li", {}, note)))));
  }
  details.append(make("div", {}, make("h3", {}, "File"), list(facts)), make("div", {}, make("h3", {}, "Settings"), list(item.identity)));
  body.append(details);
  if (item.command) body.append(make("h3", {}, "Score it again"), make("code", { class: "command" }, item.command));
}

// The button that goes through auto, light and dark; kept for the next visit where the browser allows it.
function themeSwitch(button) {
  const names = ["auto", "light", "dark"];
  let chosen = "auto";
  try { chosen = localStorage.getItem("lipscore-theme") || "auto"; } catch { /* a page from disk may have no storage */ }
  const apply = () => {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.textContent = `Theme: ${chosen}`;
  };
  button.addEventListener("click", () => {
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    try { localStorage.setItem("lipscore-theme", chosen); } catch { /* as above */ }
    apply();
  });
  apply();
}
