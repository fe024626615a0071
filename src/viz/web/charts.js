/* Small charts as SVG. */

function histogram(bins, min, max, w, h) {
  const most = Math.max(1, ...bins), step = w / bins.length;
  return svg("svg", { class: "chart", width: w, height: h + 14, viewBox: `0 0 ${w} ${h + 14}`, role: "img", "aria-label": "histogram from " + digits(min) + " to " + digits(max) },
    bins.map((n, i) => svg("rect", { x: (i * step).toFixed(1), y: (h - h * n / most).toFixed(1), width: Math.max(1, step - 1).toFixed(1), height: (h * n / most).toFixed(1), class: "mark" })),
    svg("text", { x: 0, y: h + 12, class: "axis" }, digits(min)), svg("text", { x: w, y: h + 12, class: "axis", "text-anchor": "end" }, digits(max)));
}
