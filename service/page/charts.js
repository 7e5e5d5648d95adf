// Lines over epochs, drawn as SVG: [training values], [validation values].

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [300, 120, 14];

export function draw(svg, lines, write) {
  const values = Object.values(lines).flat().filter((value) => value !== null);
  svg.replaceChildren();
  if (!values.length) return;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const steps = Math.max(1, Math.max(...Object.values(lines).map((line) => line.length)) - 1);
  const y = (value) => HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (high > low ? (value - low) / (high - low) : 0.5);
  for (const [name, line] of Object.entries(lines)) {
    const points = line.map((value, step) => [4 + (WIDTH - 8) * step / steps, value]).filter(([, value]) => value !== null);
    const path = document.createElementNS(SVG, "polyline");
    // One point alone is a short line, so that the first epoch is seen.
    if (points.length === 1) points.push([points[0][0] + 4, points[0][1]]);
    path.setAttribute("points", points.map(([x, value]) => `${x.toFixed(1)},${y(value).toFixed(1)}`).join(" "));
    path.setAttribute("class", name);
    svg.append(path);
  }
  for (const [value, place] of [[high, 10], [low, HEIGHT - 3]]) {
    const text = document.createElementNS(SVG, "text");
    text.setAttribute("x", 6);
    text.setAttribute("y", place);
    text.textContent = write(value);
    svg.append(text);
  }
  svg.setAttribute("aria-label", `${svg.dataset.name ?? "Values"} by epoch, from ${write(low)} to ${write(high)}`);
}
