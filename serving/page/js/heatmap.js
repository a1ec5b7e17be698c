// Heatmaps as pictures: a small grid, spread smoothly, cold where it is transparent.

// Of Matplotlib's `plasma` (CC0), which keeps its order when it is seen without colours.
const STOPS = [
  [13, 8, 135],
  [84, 2, 163],
  [139, 10, 165],
  [185, 50, 137],
  [219, 92, 104],
  [244, 136, 73],
  [254, 188, 43],
  [240, 249, 33],
];
const SIDE = 160;
// Share of the side over which the heat fades out.
const EDGE = 0.12;
// Below it a place is left as it is, so that the whole face is not tinted.
const COLD = 0.22;

/** The colours from cold to hot, as CSS. */
export const SCALE = `linear-gradient(90deg, ${STOPS.map((each) => `rgb(${each.join(" ")})`).join(", ")})`;

/** A canvas with the grid ([rows][columns] in [0, 1]) in colours. */
export function heatCanvas(grid) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: SIDE, height: SIDE });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(SIDE, SIDE);
  for (let y = 0; y < SIDE; y += 1) {
    for (let x = 0; x < SIDE; x += 1)
      paint(pixels.data, 4 * (y * SIDE + x), value(grid, x, y), edge(x) * edge(y));
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function paint(data, at, heat, fade) {
  const place = Math.min(heat, 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  for (let channel = 0; channel < 3; channel += 1) {
    data[at + channel] =
      STOPS[low][channel] + (STOPS[low + 1][channel] - STOPS[low][channel]) * (place - low);
  }
  data[at + 3] = 255 * fade * Math.min(1, Math.max(0, (heat - COLD) / 0.5));
}

/** From 0 at the border to 1: the square that was looked at has no edge in the picture itself. */
const edge = (pixel) => Math.min(1, (Math.min(pixel, SIDE - 1 - pixel) + 1) / (SIDE * EDGE));

/** Between the centres of the grid's cells, linearly with a soft step: as OpenCV spreads it, without its creases. */
function value(grid, x, y) {
  const [row, down] = between(y, grid.length);
  const [column, right] = between(x, grid[0].length);
  const below = Math.min(row + 1, grid.length - 1);
  const beside = Math.min(column + 1, grid[0].length - 1);
  const upper = grid[row][column] + (grid[row][beside] - grid[row][column]) * right;
  const lower = grid[below][column] + (grid[below][beside] - grid[below][column]) * right;
  return upper + (lower - upper) * down;
}

function between(pixel, cells) {
  const place = Math.min(Math.max(((pixel + 0.5) / SIDE) * cells - 0.5, 0), cells - 1);
  const cell = Math.floor(place);
  const rest = place - cell;
  return [cell, rest * rest * (3 - 2 * rest)];
}
