// Small charts in SVG. All text goes in as text nodes, all numbers as attributes.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360;
const HEIGHT = 96;

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function ground(y) {
  return shape("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "ground" });
}

/** Draw stacked bars, one a second: pairs of accepted and refused. Returns the largest sum. */
export function drawSeconds(svg, seconds) {
  const peak = Math.max(0, ...seconds.map(([accepted, refused]) => accepted + refused));
  const step = WIDTH / seconds.length;
  const bars = [ground(HEIGHT)];
  seconds.forEach(([accepted, refused], place) => {
    const high = (accepted / (peak || 1)) * (HEIGHT - 4);
    const more = (refused / (peak || 1)) * (HEIGHT - 4);
    const at = { x: place * step + 0.5, width: step - 1.5 };
    if (accepted) bars.push(shape("rect", { ...at, y: HEIGHT - high, height: high, class: "accepted" }));
    if (refused) bars.push(shape("rect", { ...at, y: HEIGHT - high - more, height: more, class: "refused" }));
  });
  svg.replaceChildren(...bars);
  return peak;
}

/** Draw a column for each count. */
export function drawColumns(svg, counts) {
  const peak = Math.max(1, ...counts);
  const step = WIDTH / counts.length;
  const columns = counts.map((count, place) => {
    const high = count ? Math.max(2, (count / peak) * (HEIGHT - 4)) : 0;
    return shape("rect", { x: place * step + 8, width: step - 16, y: HEIGHT - high, height: high, class: "batch" });
  });
  svg.replaceChildren(ground(HEIGHT), ...columns);
}

/** Make two thin bars, one above the other: the shares that were clicked and converted. */
export function meter(clicked, converted) {
  const svg = shape("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" });
  [["clicked", clicked, 1], ["converted", converted, 8]].forEach(([name, share, y]) => {
    svg.append(shape("rect", { x: 0, y, width: 100, height: 5, class: "track" }));
    svg.append(shape("rect", { x: 0, y, width: 100 * share, height: 5, class: name }));
  });
  return svg;
}
