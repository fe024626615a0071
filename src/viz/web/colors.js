/* Colours: kinds of work, what became of a node, and scales for figures. Each in a light and a dark form. */

const KINDS = ["convolution", "matrix product", "normalization", "pointwise", "pooling, reduction", "movement",
  "index, select", "quantize, cast", "control flow", "several", "unknown operator"];
const KIND_HUES = [[214, 62], [262, 52], [316, 42], [140, 38], [30, 75], [46, 10], [182, 50], [24, 34], [50, 70], [212, 10], [0, 70]];

const STANDING = { same: "unchanged", changed: "changed", fused: "fused", new: "new", gone: "gone" };

let dark = false;

const cache = new Map();
function kindColors(kind) {
  const key = kind + (dark ? "d" : "l");
  let c = cache.get(key);
  if (c) return c;
  if (kind === -2) c = dark ? { fill: "#d5dbe3", line: "#d5dbe3", text: "#14181d" } : { fill: "#2b3440", line: "#2b3440", text: "#ffffff" };
  else {
    const [h, s] = KIND_HUES[kind] || [212, 8];
    c = dark ? { fill: `hsl(${h} ${s * 0.55}% 22%)`, line: `hsl(${h} ${s * 0.8}% 48%)`, text: "#e9edf2" }
             : { fill: `hsl(${h} ${Math.min(100, s * 1.3)}% 94%)`, line: `hsl(${h} ${s}% 56%)`, text: "#1c232b" };
  }
  cache.set(key, c);
  return c;
}

function standingColors(what) {
  const light = { same: ["#f4f5f7", "#c3cad3"], changed: ["#fdf0cf", "#c98f10"], fused: ["#dbe9fb", "#3572c6"],
    new: ["#d9f2df", "#2c8a4b"], gone: ["#fbdcdc", "#c43d3d"] };
  const night = { same: ["#20262d", "#465260"], changed: ["#463510", "#d9a83a"], fused: ["#17304f", "#5f9be8"],
    new: ["#143a22", "#4fb873"], gone: ["#4a1e1f", "#e06c6c"] };
  const [fill, line] = (dark ? night : light)[what];
  return { fill, line, text: dark ? "#e9edf2" : "#1c232b" };
}

/* x from 0 to 1: little is pale, much is strong. */
function heat(x) {
  x = Math.max(0, Math.min(1, x));
  const h = 48 - 40 * x, s = dark ? 30 + 50 * x : 55 + 40 * x, l = dark ? 17 + 30 * x : 96 - 44 * x;
  return { fill: `hsl(${h} ${s}% ${l}%)`, line: dark ? `hsl(${h} ${s}% ${l + 18}%)` : `hsl(${h} ${s}% ${l - 22}%)`,
    text: dark ? "#f2f4f7" : x > 0.8 ? "#ffffff" : "#1c232b" };
}

/* A colour for a word, the same each time; neighbours in number are far apart in hue. */
const wordNumbers = new Map();
function wordColors(word) {
  if (!word) return standingColors("same");
  if (!wordNumbers.has(word)) wordNumbers.set(word, wordNumbers.size);
  const h = (wordNumbers.get(word) * 137.5 + 210) % 360;
  return dark ? { fill: `hsl(${h} 32% 24%)`, line: `hsl(${h} 48% 52%)`, text: "#e9edf2" }
              : { fill: `hsl(${h} 70% 93%)`, line: `hsl(${h} 48% 52%)`, text: "#1c232b" };
}

function inkColors() {
  return dark ? { paper: "#14181d", frame: "#1b2128", frame2: "#20272f", frameLine: "#39434f", text: "#e9edf2", dim: "#9aa6b2", edge: "#5d6a78",
    edgeStrong: "#8fc0ff", pick: "#6fb1ff", mark: "#ffd45e", card: "#1f252c" }
    : { paper: "#ffffff", frame: "#f7f9fb", frame2: "#eef2f6", frameLine: "#d3dae2", text: "#1c232b", dim: "#66717d", edge: "#a4afbb",
      edgeStrong: "#1f6fd1", pick: "#1f6fd1", mark: "#e0a100", card: "#ffffff" };
}
