// A surface over two numeric parameters, estimated from single trials, and its contour lines: pure functions.

const SIDE = 48; // cells along each axis of the grid
const NUM_LEVELS = 8;
const REACH = 2.5; // bandwidths from the nearest trial beyond which nothing is claimed

const quantile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

// The value at each cell's middle, row by row from the low end of both axes, as the mean of `points` [x, y, value] (x and y from 0 to 1) weighed
// by a Gaussian kernel (Nadaraya and Watson 1964), its width by Scott's rule (1992) for two dimensions; NaN where no trial is near.
export function surface(points, side = SIDE) {
  const width = 0.3 * points.length ** (-1 / 6);
  const values = new Array(side * side).fill(NaN);
  for (let row = 0; row < side; row += 1) {
    for (let column = 0; column < side; column += 1) {
      const [x, y] = [(column + 0.5) / side, (row + 0.5) / side];
      let [sum, weights, nearest] = [0, 0, Infinity];
      for (const [px, py, value] of points) {
        const squared = ((px - x) ** 2 + (py - y) ** 2) / width ** 2;
        const weight = Math.exp(-squared / 2);
        sum += weight * value;
        weights += weight;
        nearest = Math.min(nearest, squared);
      }
      if (nearest <= REACH ** 2) values[row * side + column] = sum / weights;
    }
  }
  return { side, values };
}

// Levels worth a line, from the worst to the best: evenly spread over what the surface takes on.
export function levels({ values }, count = NUM_LEVELS) {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const found = Array.from({ length: count }, (_, i) => quantile(sorted, i / count));
  return found.filter((level, i) => i === 0 || level > found[i - 1]);
}

// A multipolygon of d3-contour as an SVG path; `place([x, y])` gives pixels of a place from 0 to 1.
export function toPath({ coordinates }, side, place) {
  const ring = (points) => `M${points.map(([x, y]) => place([x / side, y / side]).map((pixel) => pixel.toFixed(1)).join(" ")).join("L")}Z`;
  return coordinates.flat().map(ring).join("");
}
