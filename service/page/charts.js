// Line charts over epochs, drawn as SVG: [training values], [validation values].

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [300, 120, 14];

export function drawChart(svg, series, format) {
  const values = Object.values(series).flat().filter((value) => value !== null);
  svg.replaceChildren();
  if (!values.length) return;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const steps = Math.max(1, Math.max(...Object.values(series).map((line) => line.length)) - 1);
  const y = (value) => HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (high > low ? (value - low) / (high - low) : 0.5);
  for (const [name, line] of Object.entries(series)) {
    const points = line.map((value, step) => [4 + (WIDTH - 8) * step / steps, value]).filter(([, value]) => value !== null);
    const path = document.createElementNS(SVG, "polyline");
    // Draw a single point as a short line, so that the first epoch is visible.
    if (points.length === 1) points.push([points[0][0] + 4, points[0][1]]);
    path.setAttribute("points", points.map(([x, value]) => `${x.toFixed(1)},${y(value).toFixed(1)}`).join(" "));
    path.setAttribute("class", name);
    svg.append(path);
  }
  for (const [value, bottom] of [[high, 10], [low, HEIGHT - 3]]) {
    const text = document.createElementNS(SVG, "text");
    text.setAttribute("x", 6);
    text.setAttribute("y", bottom);
    text.textContent = format(value);
    svg.append(text);
  }
  svg.setAttribute("aria-label", `${svg.dataset.name ?? "Values"} by epoch, from ${format(low)} to ${format(high)}`);
}
