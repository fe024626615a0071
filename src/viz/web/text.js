/* Text of names and numbers, and elements made of text alone: nothing of a model is ever read as HTML. */

/* Names may hold anything: what would turn the line around or break it shows as a dot. */
function clean(s) {
  return String(s).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g, "\u00b7");
}

function clip(s, most) {
  const room = Math.max(400, 2 * most); // what follows need not look at more, however long a name is
  s = clean(s.length > room ? s.slice(0, room / 2) + s.slice(-room / 2) : s);
  if (s.length <= most) return s;
  const head = Math.floor(most / 3);
  return s.slice(0, head) + "\u2026" + s.slice(s.length - (most - head - 1));
}

/* The last part of a path. */
function tail(name) {
  const cut = name.replace(/\/+$/, "").lastIndexOf("/");
  return cut >= 0 ? name.slice(cut + 1) : name;
}

/* A text where `most` characters have room: whole, or its first word or two, or nothing. */
function fitting(s, most) {
  s = clean(s);
  if (s.length <= most) return s;
  const cut = s.slice(0, most + 1).search(/[+ ][^+ ]*$/);
  return cut > 2 ? s.slice(0, cut) : most >= 6 ? clip(s, most) : "";
}

/* The last part of a tensor's name, without what exporters put behind all of them. */
function tensorName(name) {
  return tail(name).replace(/_output_\d+$/, "");
}

/* What tells a node from its neighbours: the last part of its name, or the one before where that only repeats the operator. */
function shortName(name, op, around) {
  const parts = name.split("/").filter(p => p);
  const last = parts.pop() || "", before = parts.pop() || "";
  const bare = last.replace(/_\d+$/, "");
  const repeats = bare === op || bare === op.replace(/^.*::/, "");
  return repeats && before && before !== around ? before + last.slice(bare.length) : last === op ? "" : last;
}

function nameOf(rec, model) {
  if (rec.name) return rec.name;
  if (rec.origins.length) return rec.origins.length > 1 ? rec.origins[0] + " and " + (rec.origins.length - 1) + " more" : rec.origins[0];
  const v = rec.outs.length ? model.values.get(rec.outs[0]) : null;
  return v && v.name ? v.name : rec.outs.length ? "%" + rec.outs[0] : rec.op;
}

function el(tag, attrs, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === null || v === undefined || v === false) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (k === "class") e.className = v;
    else e.setAttribute(k, v === true ? "" : v);
  }
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined && c !== false) e.append(c);
  return e;
}

function svg(tag, attrs, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === null || v === undefined) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v);
  }
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined) e.append(c);
  return e;
}

function clear(e) {
  e.replaceChildren();
  return e;
}

const $ = id => document.getElementById(id);

/* ---- numbers ---- */

function digits(x, most = 3) {
  if (!isFinite(x)) return String(x);
  if (x === 0) return "0";
  const a = Math.abs(x);
  if (a >= 100 || Number.isInteger(x)) return Math.round(x).toLocaleString("en-US");
  return Number(x.toPrecision(most)).toString();
}

function scaled(x, step, units) {
  let u = 0;
  while (Math.abs(x) >= step && u < units.length - 1) {
    x /= step;
    u++;
  }
  return digits(x) + "\u202f" + units[u];
}

const bytesText = n => scaled(n, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const opsText = n => scaled(n, 1000, ["op", "Kop", "Mop", "Gop", "Top"]);
const countText = n => Number(n).toLocaleString("en-US");
const percent = x => (100 * x >= 10 ? (100 * x).toFixed(0) : (100 * x).toFixed(1)) + "\u202f%";

function msText(ms) {
  if (ms >= 1000) return digits(ms / 1000) + "\u202fs";
  return ms >= 1 || ms === 0 ? digits(ms) + "\u202fms" : digits(1000 * ms) + "\u202f\u00b5s";
}

/* "f32[1,3,8,8]" as [dtype, dims as text] */
function splitType(type) {
  const open = type.indexOf("[");
  return open < 0 ? [type, ""] : [type.slice(0, open), type.slice(open + 1, -1)];
}

function shapeText(type) {
  const dims = splitType(type)[1];
  if (!dims) return type.indexOf("[") < 0 ? type : "scalar";
  return clip(dims.split(",").join("\u00d7"), 40);
}

const WIDTHS = { f64: 8, i64: 8, u64: 8, c64: 8, c128: 16, f32: 4, i32: 4, u32: 4, f16: 2, bf16: 2, i16: 2, u16: 2 };

/* Bytes of a type whose dims are numbers; 0 where they are not. */
function typeBytes(type) {
  const [dtype, dims] = splitType(type);
  if (!dims) return type.indexOf("[") < 0 ? 0 : WIDTHS[dtype] || 1;
  let n = WIDTHS[dtype] || 1;
  for (const d of dims.split(",")) {
    if (!/^\d+$/.test(d)) return 0;
    n *= Number(d);
  }
  return n;
}

function plural(n, word, words) {
  return countText(n) + " " + (n === 1 ? word : words || word + "s");
}
