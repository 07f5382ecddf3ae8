"use strict";
// The page of `lipscore serve`: send a video, follow its job, show its panel, fetch the mended file.

(() => {
  const find = (id) => document.getElementById(id);
  const STAGES = ["probe", "transcode", "shots", "faces", "tracks", "crops", "embed", "wide", "pictures"];
  const WORDS = {
    probe: "reading the file", transcode: "preparing the video", shots: "looking for cuts", faces: "looking for faces",
    wide: "searching a wide range", tracks: "following the faces", crops: "cutting out the faces", embed: "comparing lips and audio", pictures: "making pictures",
  };
  const maxBytes = Number(document.body.dataset.maxMb) * 1e6;
  let job = null, events = null, request = null;
  document.documentElement.classList.add("script");
  themeSwitch(find("theme"));

  const show = (id) => {
    for (const one of ["choose", "working", "result"]) find(one).hidden = one !== id;
  };
  const fail = (text) => {
    show("choose");
    find("error").textContent = text;
    find("error").hidden = false;
    find("file").value = "";
  };
  const say = (text, share) => {
    find("stage").textContent = text;
    if (share === null) find("bar").removeAttribute("value");
    else find("bar").value = share;
  };

  const leave = () => {
    if (events) events.close();
    if (request) request.abort();
    if (job) fetch(`/api/jobs/${job}`, { method: "DELETE", keepalive: true });
    job = events = request = null;
  };
  window.addEventListener("pagehide", leave);

  const start = (name, form) => {
    leave();
    find("error").hidden = true;
    find("working-name").textContent = name;
    show("working");
    say("sending", 0);
    form.append("wait", "false");
    request = new XMLHttpRequest();
    request.open("POST", "/api/analyze");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) say("sending", event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      const reply = request.response || {};
      const accepted = request.status === 202;
      request = null;
      if (!accepted) return fail(reply.error || "the server refused the file");
      job = reply.id;
      follow();
    });
    request.addEventListener("error", () => { request = null; fail("the server cannot be reached"); });
    request.send(form);
  };

  const follow = () => {
    events = new EventSource(`/api/jobs/${job}/events`);
    events.addEventListener("message", (event) => {
      const now = JSON.parse(event.data);
      if (now.mending) return mending(now);
      if (now.state === "queued") return say(now.ahead ? `waiting: ${now.ahead} before it` : "waiting", null);
      if (now.state === "running") return say(WORDS[now.stage] || now.stage, (STAGES.indexOf(now.stage) + 1) / (STAGES.length + 1));
      events.close();
      if (now.result && now.result.record) result(now);
      else fail(now.error);
    });
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) fail("the connection to the server broke");
    });
  };

  const longRange = (reply) => {
    const wide = reply.long_range;
    if (wide.status === "found") {
      const seconds = Math.abs(wide.offset_seconds).toFixed(2);
      if (wide.offset_frames === 0) return "Long range: audio and picture are together.";
      return `Long range: audio ${seconds} s ${wide.offset_frames > 0 ? "early" : "late"}.`;
    }
    return `Long range: ${wide.status}${wide.reason ? ` (${wide.reason})` : ""}.`;
  };

  // where the wide search found something else than the record, the record's offset is only the best within its range
  const narrow = ({ record, long_range: wide }) =>
    wide.status === "found" && record.status === "ok" && Math.abs(wide.offset_frames - record.offset) > 2
      ? `Best within ±${(record.tracks[0].curve.length - 1) / 2} frames: ` : "";

  const result = (now) => {
    const { record } = now.result;
    show("result");
    find("result-name").textContent = now.video_name;
    find("long-range").textContent = longRange(now.result);
    find("long-range").hidden = !find("long-range").textContent;
    find("mended").hidden = true;
    find("mend").hidden = record.status !== "ok";
    find("mend").disabled = false;
    const holder = make("div", {});
    let axes = null, shown = null;
    // these come from the server's own templates
    if (now.page.axes) {
      holder.innerHTML = now.page.axes.svg;
      axes = { svg: holder.firstElementChild, scale: now.page.axes.scale };
    }
    if (now.page.pictures) {
      shown = document.createElement("div");
      shown.innerHTML = now.page.pictures;
    }
    fillPanel(find("panel-body"), {
      record, identity: now.page.identity || [], command: now.page.command, axes, pictures: shown,
      prefix: narrow(now.result), source: `/api/jobs/${job}/video`, boxes: now.page.boxes,
    });
    find("result-name").focus();
  };

  const mending = (now) => {
    const text = find("mended");
    text.hidden = false;
    text.className = now.mending === "failed" ? "error" : "";
    if (now.mending === "queued" || now.mending === "running") {
      text.textContent = `Mending: ${WORDS[now.stage] || now.stage || "waiting"} …`;
      return;
    }
    events.close();
    text.textContent = now.mended;
    find("mend").disabled = now.mending === "done";
    if (now.mending === "done") {
      text.append(" ", make("a", { href: `/api/jobs/${job}/mended`, class: "button", download: true, id: "fetch" }, "Download"));
    }
  };

  const send = (file) => {
    if (!file) return;
    if (file.size > maxBytes) return fail(`${file.name} is larger than ${document.body.dataset.maxMb} MB`);
    const form = new FormData();
    form.append("video", file);
    start(file.name, form);
  };

  const drop = find("drop");
  find("file").addEventListener("change", (event) => send(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && find("working").hidden) send(event.dataTransfer.files[0]);
    });
  }
  find("cancel").addEventListener("click", () => { leave(); show("choose"); find("file").value = ""; });
  find("again").addEventListener("click", () => { leave(); show("choose"); find("file").value = ""; find("file").focus(); });
  find("mend").addEventListener("click", async () => {
    find("mend").disabled = true;
    const reply = await fetch(`/api/jobs/${job}/mend`, { method: "POST" });
    const now = await reply.json();
    if (reply.ok) follow();
    else mending({ mending: "failed", mended: now.error });
  });

  if (find("pick")) {
    fetch("/api/files").then((reply) => reply.json()).then(({ files }) => {
      find("picked").replaceChildren(...files.map((name) => make("option", {}, name)));
      find("pick").disabled = !files.length;
    });
    find("pick").addEventListener("click", () => {
      const form = new FormData();
      form.append("file", find("picked").value);
      start(find("picked").value, form);
    });
  }
})();
