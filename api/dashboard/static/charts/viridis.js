// The one continuous scale of colours: viridis, which keeps its order in grey and for the colour-blind.

const STOPS = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];

export function viridis(share) {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const [from, to] = [STOPS[Math.floor(place)], STOPS[Math.ceil(place)]];
  return `rgb(${from.map((part, i) => Math.round(part + (to[i] - part) * (place % 1))).join(",")})`;
}

// Colour of a quality from 0 to 1 such that the best stands out: dark on a light ground, bright on a dark one.
export const standout = (palette, quality) => viridis(palette.dark ? quality : 0.92 * (1 - quality));
