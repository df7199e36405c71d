// The search page. What somebody typed or a catalogue says goes in as text only, never as markup.

const $ = id => document.getElementById(id);
const PER_PAGE = 24, MOST = 100, UPLOAD_BYTES = 3e6, UPLOAD_SIDE = 1600, HUES = 6, MOST_VALUES = 200;

const state = { text: "", where: Object.create(null), product: null, picture: null, why: false, count: PER_PAGE };
let can = [], key = sessionStorage.getItem("key"), running = null, titles = Object.create(null), words = [];

// --- asking the service

async function ask(address, options = {}, tries = 3) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(address, { ...options, headers: { ...headers, ...options.headers } });
  if (answer.status === 401) {
    await unlock();
    return ask(address, options, tries);
  }
  if (answer.status === 503 && tries > 0) {
    await new Promise(done => setTimeout(done, 1000 * (Number(answer.headers.get("Retry-After")) || 1)));
    return ask(address, options, tries - 1);
  }
  if (!answer.ok) throw new Error(await sentence(answer));
  return answer;
}

async function sentence(answer) {
  const kind = answer.headers.get("Content-Type") || "";
  return kind.startsWith("application/json") ? (await answer.json()).error : `the service answered ${answer.status}`;
}

let unlocking = null;
function unlock() {
  unlocking ??= new Promise(done => {
    $("lock").addEventListener("close", () => {
      key = $("key").value;
      sessionStorage.setItem("key", key);
      unlocking = null;
      done();
    }, { once: true });
    $("key").value = "";
    $("lock").showModal();
  });
  return unlocking;
}

async function json(address, options) {
  return (await ask(address, options)).json();
}

// --- pictures and what is drawn over them

function shown(address, alt, side) {
  const image = document.createElement("img");
  image.alt = alt;
  image.decoding = "async";
  const whole = `${address}?side=${side}`;
  if (!key) {
    image.loading = "lazy";
    image.src = whole;
  } else {
    ask(whole).then(answer => answer.blob()).then(blob => {
      image.onload = () => URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(blob);
    }).catch(() => {}); // the alternative text stands there
  }
  return image;
}

function shot(product, number, side, why) {
  const frame = document.createElement("span");
  frame.className = "shot";
  frame.append(shown(product.pictures[number], product.title || product.product_id, side));
  for (const { word, box: [left, top, right, bottom] } of why) {
    const box = document.createElement("span"), name = document.createElement("b");
    box.className = `box h${hue(word)}`;
    box.dataset.word = name.textContent = word;
    for (const [side, share] of [["left", left], ["top", top], ["width", right - left], ["height", bottom - top]])
      box.style[side] = `${100 * share}%`;
    box.append(name);
    frame.append(box);
  }
  return frame;
}

function hue(word) { // the same for one word all over an answer
  return words.indexOf(word) % HUES;
}

function light(frame, word) {
  frame.classList.toggle("dim", word !== null);
  for (const box of frame.querySelectorAll(".box")) box.classList.toggle("lit", box.dataset.word === word);
}

// --- cards

function card(product) {
  const one = $("card").content.cloneNode(true).firstElementChild;
  const title = product.title || product.product_id;
  const frame = product.pictures.length ? shot(product, 0, 640, product.why) : document.createElement("span");
  one.querySelector(".frame").append(frame);
  one.querySelector(".title").textContent = title;
  one.querySelector(".kind").textContent = [product.category, product.sub_category].filter(Boolean).join(" › ");
  const odds = product.reranked === null ? "" : ` · log-odds ${product.reranked.toFixed(2)}`;
  one.querySelector(".scores").textContent = `cosine ${product.recalled.toFixed(3)}${odds}`;
  for (const word of new Set(product.why.map(why => why.word))) one.querySelector(".words").append(chip(word, frame));
  one.querySelector(".open").addEventListener("click", () => open(product));
  const like = one.querySelector(".like");
  like.setAttribute("aria-label", `Similar to ${title}`);
  like.addEventListener("click", () => similar(product));
  return one;
}

function chip(word, frame) {
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  button.className = `h${hue(word)}`;
  button.textContent = word;
  for (const name of ["mouseenter", "focus"]) button.addEventListener(name, () => light(frame, word));
  for (const name of ["mouseleave", "blur"]) button.addEventListener(name, () => light(frame, null));
  item.append(button);
  return item;
}

function open(product) {
  $("product-title").textContent = product.title || product.product_id;
  $("product-text").textContent = product.description;
  $("views").replaceChildren(...product.pictures.map((_, at) => shot(product, at, 1280, at ? [] : product.why)));
  const facts = { id: product.product_id, category: product.category, "sub-category": product.sub_category };
  const rows = Object.entries({ ...facts, ...product.attributes }).filter(([, value]) => value);
  $("facts").replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt"), said = document.createElement("dd");
    term.textContent = name;
    said.textContent = value;
    return [term, said];
  }));
  $("similar").onclick = () => {
    $("product").close();
    similar(product);
  };
  $("product").showModal();
}

function similar(product) {
  titles[product.product_id] = product.title || product.product_id;
  forget();
  Object.assign(state, { product: product.product_id, text: "", count: PER_PAGE });
  remember();
  search();
  $("found").focus();
  scrollTo(0, 0);
}

// --- searching

function request() {
  const { text, where, product, picture, why, count } = state;
  const asked = { count, where, explain: why };
  if (text) asked.text = text;
  if (product !== null) asked.product = product;
  if (!picture) return { body: JSON.stringify(asked), headers: { "Content-Type": "application/json" } };
  return { body: form(picture, { ...asked, where: JSON.stringify(where) }) };
}

function form(picture, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  body.append("picture", picture, "picture");
  return body;
}

async function search() {
  running?.abort();
  const mine = running = new AbortController();
  draw();
  if (!state.text && !state.picture && state.product === null) return show(null);
  $("found").classList.add("busy");
  $("status").textContent = "Searching …";
  const began = performance.now();
  try {
    const answer = await json("/search", { method: "POST", signal: mine.signal, ...request() });
    if (mine === running) show(answer, performance.now() - began);
  } catch (error) {
    if (mine === running) show(null, 0, error);
  } finally {
    if (mine === running) $("found").classList.remove("busy");
  }
}

function show(answer, milliseconds, error) {
  const found = answer?.found ?? [];
  words = [...new Set(found.flatMap(product => product.why.map(why => why.word)))];
  const unreachable = error instanceof TypeError; // what fetch throws where nobody answers
  $("problem").hidden = !error;
  $("problem").textContent = !error ? "" : unreachable ? "the service does not answer; try again" : error.message;
  $("cards").replaceChildren(...found.map(card));
  $("more").hidden = found.length < state.count || state.count >= MOST;
  const many = `${found.length} ${found.length === 1 ? "product" : "products"}`;
  $("status").textContent = answer ? `${found.length ? many : "Nothing found"} in ${Math.round(milliseconds)} ms` : "";
}

function draw() {
  $("text").value = state.text;
  $("why").checked = state.why;
  $("seed").hidden = state.product === null;
  if (state.product !== null) nameSeed(state.product);
  for (const box of $("facets").querySelectorAll("input")) box.checked = (state.where[box.name] ?? []).includes(box.value);
  const chosen = Object.values(state.where).flat().length;
  $("chosen").textContent = chosen ? ` (${chosen})` : "";
  $("clear").hidden = !chosen;
}

async function nameSeed(id) {
  $("seed-title").textContent = titles[id] ?? id;
  if (titles[id]) return;
  const product = await json(`/products/${encodeURIComponent(id)}`).catch(() => null);
  titles[id] = product?.title || id;
  if (state.product === id) $("seed-title").textContent = titles[id];
}

// --- the address says what is looked for, but for a picture

function remember() {
  const said = new URLSearchParams();
  if (state.text) said.set("q", state.text);
  if (state.product !== null) said.set("similar", state.product);
  if (state.why) said.set("why", "1");
  for (const [name, values] of Object.entries(state.where)) for (const value of values) said.append(`where.${name}`, value);
  history.pushState(null, "", said.size ? `?${said}` : location.pathname);
}

function recall() {
  const said = new URLSearchParams(location.search), where = Object.create(null);
  for (const [name, value] of said) if (name.startsWith("where.")) (where[name.slice(6)] ??= []).push(value);
  const text = said.get("q") ?? "", product = said.get("similar");
  Object.assign(state, { text, product, where, why: said.has("why"), count: PER_PAGE });
}

// --- a picture of one's own

async function take(file) {
  if (!file) return;
  try {
    state.picture = await smaller(file);
  } catch {
    return show(null, 0, new Error("this file is no picture that a browser can read"));
  }
  Object.assign(state, { product: null, count: PER_PAGE });
  URL.revokeObjectURL($("thumb").src);
  $("thumb").src = URL.createObjectURL(state.picture);
  $("given").hidden = false;
  $("caption").textContent = "";
  $("classes").replaceChildren();
  remember();
  search();
  describe(state.picture);
}

async function smaller(file) {
  const image = await createImageBitmap(file);
  const share = UPLOAD_SIDE / Math.max(image.width, image.height);
  if (file.size <= UPLOAD_BYTES) return file;
  const canvas = new OffscreenCanvas(image.width * Math.min(1, share), image.height * Math.min(1, share));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

async function describe(picture) {
  const mine = () => state.picture === picture;
  const post = (address, fields = {}) => json(address, { method: "POST", body: form(picture, fields) });
  if (can.includes("caption"))
    post("/caption").then(said => mine() && ($("caption").textContent = said.caption)).catch(() => {});
  for (const task of ["category", "sub_category"].filter(task => can.includes(task)))
    post("/classify", { task, top: 3 }).then(said => mine() && name(task, said.classes)).catch(() => {});
}

function name(task, classes) {
  const rows = classes.map(({ name, probability }) => {
    const row = document.createElement("div"), said = document.createElement("span");
    const meter = document.createElement("meter"), share = document.createElement("span");
    row.className = "class";
    said.textContent = name;
    meter.value = probability;
    meter.setAttribute("aria-label", name);
    share.textContent = `${Math.round(100 * probability)} %`;
    row.append(said, meter, share);
    return row;
  });
  const group = document.createElement("div");
  group.dataset.task = task;
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", task.replace("_", "-"));
  const title = document.createElement("p");
  title.className = "quiet";
  title.textContent = task.replace("_", "-");
  group.append(title, ...rows);
  $("classes").append(group);
  const order = [...$("classes").children].sort((one, other) => one.dataset.task.localeCompare(other.dataset.task));
  $("classes").append(...order);
}

function forget() {
  state.picture = null;
  $("picture").value = "";
  $("given").hidden = true;
}

// --- filters

function facets(known) {
  const useful = Object.entries(known).filter(([name, values]) => parts(Object.values(values)) || name in state.where);
  $("facets").replaceChildren(...useful.map(([name, values], at) => {
    const part = document.createElement("details"), title = document.createElement("summary");
    const list = document.createElement("div");
    part.open = at < 2 || name in state.where;
    title.textContent = name.replaceAll("_", "-");
    list.className = "values";
    const sorted = Object.entries(values).sort(([, one], [, other]) => other - one);
    list.append(...sorted.map(([value, count]) => option(name, value, count)));
    part.append(title, list);
    return part;
  }));
}

function parts(counts) { // false for what is different for nearly every product, or the same for all
  return counts.length > 1 && counts.length <= MOST_VALUES && counts.reduce((sum, one) => sum + one, 0) > 2 * counts.length;
}

function option(name, value, count) {
  const label = document.createElement("label"), box = document.createElement("input");
  const said = document.createElement("span"), many = document.createElement("span");
  Object.assign(box, { type: "checkbox", name, value });
  said.textContent = value;
  many.textContent = count;
  label.append(box, said, many);
  return label;
}

function filtered() {
  state.where = Object.create(null);
  for (const box of $("facets").querySelectorAll("input")) if (box.checked) (state.where[box.name] ??= []).push(box.value);
  state.count = PER_PAGE;
  remember();
  search();
}

// --- what people do

$("ask").addEventListener("submit", event => {
  event.preventDefault();
  Object.assign(state, { text: $("text").value.trim(), product: null, count: PER_PAGE });
  remember();
  search();
});
$("picture").addEventListener("change", () => take($("picture").files[0]));
$("forget").addEventListener("click", () => {
  forget();
  search();
  $("text").focus();
});
$("unseed").addEventListener("click", () => {
  state.product = null;
  remember();
  search();
  $("text").focus();
});
$("facets").addEventListener("change", filtered);
$("clear").addEventListener("click", () => {
  for (const box of $("facets").querySelectorAll("input")) box.checked = false;
  filtered();
});
$("why").addEventListener("change", () => {
  state.why = $("why").checked;
  remember();
  search();
});
$("more").addEventListener("click", async () => {
  const had = state.count;
  state.count = Math.min(MOST, had + PER_PAGE);
  await search();
  $("cards").children[had]?.querySelector(".open").focus();
});
$("product").addEventListener("click", event => event.target === $("product") && $("product").close());
addEventListener("popstate", () => {
  recall();
  search();
});
addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", event => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
addEventListener("paste", event => take([...event.clipboardData.files].find(file => file.type.startsWith("image/"))));
addEventListener("keydown", event => {
  const typing = ["INPUT", "TEXTAREA"].includes(document.activeElement.tagName);
  if (event.key !== "/" || typing || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  $("text").focus();
});

async function begin() {
  $("filters").open = matchMedia("(min-width: 56rem)").matches;
  recall();
  draw();
  try {
    ({ can } = await json("/health"));
    facets(await json("/facets"));
  } catch (error) {
    return show(null, 0, error);
  }
  search();
}

begin();
