// The live page. What arrives is text of strangers: it is only ever set as textContent, never as markup.

import { drawColumns, drawSeconds, meter } from "./chart.js";

const isNarrow = matchMedia("(max-width: 640px)"); // there, the events stand above all else and must not bury it
const MAX_EVENT_ROWS = { wide: 120, narrow: 25 };
const MAX_REQUEST_ROWS = 40;
const SAY_EVERY_MS = 5000; // a screen reader is told totals, not each event

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

let source = null;
let isPaused = false;
let skipped = 0;
let lastSaid = 0;

function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// --- the stream ---------------------------------------------------------------------------------------------------

function connect() {
  if (source) source.close();
  byId("event-rows").replaceChildren();
  byId("request-rows").replaceChildren();
  skipped = 0;
  const wanted = new URLSearchParams(new FormData(byId("filters")));
  source = new EventSource(`/page/feed?${wanted}`);
  source.onopen = () => setLink("live", "live");
  source.onerror = () => setLink("lost", "connection lost, trying again");
  source.onmessage = (message) => {
    if (!isPaused) show(JSON.parse(message.data));
  };
}

function setLink(state, text) {
  const link = byId("link");
  link.dataset.state = state;
  link.textContent = text;
}

function show(frame) {
  showTotals(frame);
  showCharts(frame);
  showFaults(frame.faults);
  showEvents(frame);
  showRequests(frame);
  say(frame.counts);
}

// --- totals and charts --------------------------------------------------------------------------------------------

function showTotals({ counts, seconds }) {
  byId("n-accepted").textContent = number.format(counts.accepted);
  byId("n-attributed").textContent = number.format(counts.attributed);
  byId("n-attributed").parentElement.toggleAttribute("data-some", counts.attributed > 0);
  byId("n-attributed-share").textContent = counts.accepted ? percent(counts.attributed / counts.accepted) : "";
  const refused = byId("n-refused");
  refused.textContent = number.format(counts.refused);
  refused.toggleAttribute("data-some", counts.refused > 0);
  byId("n-requests").textContent = number.format(counts.requests);
  const [accepted, turned] = seconds[seconds.length - 2]; // the last second that is over
  byId("n-rate").textContent = number.format(accepted + turned);
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function showCharts({ seconds, batches, models }) {
  const peak = drawSeconds(byId("chart-rate"), seconds);
  byId("rate-peak").textContent = peak ? `peak ${number.format(peak)}` : "";
  const columns = batches.map(([first, last, count]) => [first === last ? `${first}` : `${first}–${last}`, count]);
  drawColumns(byId("chart-batches"), columns.map(([, count]) => count));
  byId("batch-labels").replaceChildren(...columns.map(([label]) => make("span", { textContent: label })));
  byId("chart-batches").setAttribute(
    "aria-label",
    `Requests by the number of their events: ${columns.map(([label, count]) => `${label}: ${count}`).join(", ")}`,
  );
  byId("models").hidden = models.length === 0;
  byId("no-models").hidden = models.length > 0;
  byId("models").tBodies[0].replaceChildren(...models.map(modelRow));
}

function modelRow([name, answers, clicked, converted]) {
  return make(
    "tr",
    {},
    make("th", { scope: "row", textContent: name }),
    make("td", { className: "count", textContent: number.format(answers), title: "answers" }),
    make("td", { textContent: percent(clicked / answers), title: "clicked" }),
    make("td", { textContent: percent(converted / answers), title: "converted" }),
    make("td", { className: "meter" }, meter(clicked / answers, converted / answers)),
  );
}

// --- events -------------------------------------------------------------------------------------------------------

function showEvents(frame) {
  const rows = byId("event-rows");
  const fresh = document.createDocumentFragment();
  for (const event of frame.events) fresh.prepend(eventRow(event));
  rows.prepend(fresh);
  trim(rows, isNarrow.matches ? MAX_EVENT_ROWS.narrow : MAX_EVENT_ROWS.wide);
  skipped += frame.skipped;
  const more = byId("skipped");
  more.hidden = skipped === 0;
  more.textContent = `${number.format(skipped)} more events arrived than are shown; they are counted above.`;
  byId("no-events").hidden = rows.childElementCount > 0;
}

function trim(rows, most) {
  while (rows.childElementCount > most) rows.lastElementChild.remove();
}

function eventRow(event) {
  const open = make("button", { type: "button", className: "open", textContent: event.name || "(no name)" });
  open.setAttribute("aria-expanded", "false");
  const kind = event.subtype ? `${event.kind} · ${event.subtype}` : event.kind;
  const row = make(
    "tr",
    { className: "new" },
    cell("time", event.at ? clock.format(event.at) : ""),
    cell("what", open, make("span", { className: "sub", textContent: event.index ? `${kind} · ${event.index}` : kind })),
    cell("objects ids", event.objects.join(", ")),
    cell("who", make("span", { className: "ids", textContent: event.user }), sub(event.account)),
    cell("verdict", ...verdict(event)),
  );
  row.setAttribute("role", "row");
  open.addEventListener("click", () => toggle(row, open, event));
  return row;
}

function cell(className, ...children) {
  return make("td", { className, role: "cell" }, ...children);
}

function sub(text) {
  return text ? make("span", { className: "sub", textContent: text }) : "";
}

function verdict(event) {
  if (event.verdict === "refused") return [make("span", { className: "tag bad", textContent: "refused" }), sub(event.why)];
  if (event.attributed) {
    return [make("span", { className: "tag good", textContent: "attributed" }), sub(event.model)];
  }
  return [make("span", { className: "tag", textContent: "not attributed" }), sub(event.why)];
}

function toggle(row, open, event) {
  const isOpen = open.getAttribute("aria-expanded") === "true";
  open.setAttribute("aria-expanded", String(!isOpen));
  if (isOpen) {
    row.nextElementSibling.remove();
    return;
  }
  const items = event.items.map(([object, reason, model, queryId]) =>
    make("li", { textContent: [object || "(the event)", reason, model, queryId].filter(Boolean).join(" · ") }),
  );
  const details = make("td", { colSpan: 5 }, make("ul", {}, ...items), make("pre", { textContent: event.raw }));
  row.after(make("tr", { className: "detail" }, details));
}

// --- requests -----------------------------------------------------------------------------------------------------

function showRequests(frame) {
  const rows = byId("request-rows");
  const fresh = document.createDocumentFragment();
  for (const request of frame.requests) fresh.prepend(requestRow(request));
  rows.prepend(fresh);
  trim(rows, MAX_REQUEST_ROWS);
  byId("no-requests").hidden = rows.childElementCount > 0;
}

function requestRow(request) {
  const isGood = request.status !== null && request.status < 400;
  const what = request.path.startsWith("/1/indexes/") ? "recommendations" : request.path.replace("/1/", "");
  const events = request.events ? ` · ${number.format(request.events)} ${request.events === 1 ? "event" : "events"}` : "";
  const fault = request.fault ? `fault: ${request.fault}` : "";
  return make(
    "tr",
    {},
    make("td", {}, make("span", { className: `tag ${isGood ? "good" : "bad"}`, textContent: request.status ?? "none" })),
    make("td", {}, `${request.method} ${what}${events}`, sub([request.why, fault].filter(Boolean).join(" · "))),
    make("td", {}, size(request.bytes), sub(request.ms === null ? "" : `${number.format(request.ms)} ms`)),
  );
}

function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${number.format(Math.round(bytes / 100) / 10)} kB`;
}

// --- faults -------------------------------------------------------------------------------------------------------

function showFaults(faults) {
  byId("no-faults").hidden = faults.length > 0;
  byId("faults").replaceChildren(...faults.map(faultItem));
}

function faultItem(fault) {
  const values = Object.entries(fault.values).map(([name, value]) => (name === "status" ? value : `${name} ${value}`));
  const what = [fault.name, ...values, fault.api].filter((part) => part !== null && part !== "").join(" ");
  const left = fault.seconds !== null ? `${Math.ceil(fault.seconds)} s left` : fault.times !== null ? `${fault.times} left` : "";
  return make("li", {}, make("span", { textContent: what }), make("span", { textContent: left }));
}

function fieldsFor(preset) {
  for (const label of byId("fault-form").querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== preset;
}

function orderOf(form) {
  const preset = form.get("preset");
  const order = { seconds: Number(form.get("seconds")), api: form.get("api") || null };
  if (preset === "500") return { ...order, fault: "status", status: 500 };
  if (preset === "429") return { ...order, fault: "status", status: 429, retry_after: Number(form.get("retry_after")) };
  if (preset === "delay") return { ...order, fault: "delay", delay: Number(form.get("delay")) };
  return { ...order, fault: preset === "reset" ? form.get("reset") : preset };
}

async function send(method, body) {
  const error = byId("fault-error");
  try {
    const answer = await fetch("/page/faults", {
      method,
      headers: { "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    error.textContent = answer.ok ? "" : (await answer.json()).message;
  } catch {
    error.textContent = "the sandbox does not answer";
  }
}

// --- the rest -----------------------------------------------------------------------------------------------------

function say(counts) {
  if (performance.now() - lastSaid < SAY_EVERY_MS) return;
  lastSaid = performance.now();
  const text = `${counts.accepted} events accepted, ${counts.attributed} attributed, ${counts.refused} refused`;
  if (byId("news").textContent !== text) byId("news").textContent = text;
}

function debounced(action, delay) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
}

byId("address").textContent = location.origin;
byId("hint").textContent = [
  "export ALGOLIA_APP_ID=SANDBOX ALGOLIA_API_KEY=sandbox",
  `export ALGOLIA_INSIGHTS_URL=${location.origin}`,
  `export ALGOLIA_RECOMMEND_URL=${location.origin}`,
].join("\n");
byId("filters").addEventListener("input", debounced(connect, 200));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("clear-list").addEventListener("click", () => {
  byId("event-rows").replaceChildren();
  skipped = 0;
  byId("skipped").hidden = true;
});
byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  if (!isPaused) connect();
});
byId("clear-faults").addEventListener("click", () => send("DELETE"));
byId("fault-form").elements.preset.addEventListener("change", (event) => fieldsFor(event.target.value));
byId("fault-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send("POST", orderOf(new FormData(event.target)));
});
fieldsFor(byId("fault-form").elements.preset.value);
connect();
