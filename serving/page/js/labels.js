// Where the labels of boxes lie: none on another one, none beyond the picture, few on faces.

// Between a box and its label, px.
const GAP = 4;
// Between two labels, px.
const APART = 2;
// Steps along each side of a box at which a label is tried.
const STEPS = 8;
// Of px² that a label takes of something else: another face is what people look at, its own less so.
const ON_ANOTHER = 4;
const ON_ITS_OWN = 1;
// Maximum width of a label, in boxes; a wider one seems to belong to a neighbour. The chosen face's label may exceed it.
const WIDEST = 1.3;

/**
 * Place labels one after the other, each at the best free place beside its box.
 * @param boxes {left, top, width, height} in px of the stage.
 * @param sizes for each box the sizes {width, height} that its label can have, the most telling first.
 * @param stage {width, height}.
 * @param order indices of the boxes, the most important first.
 * @returns for each box {left, top, size}, `size` being the index into its sizes; null where nothing is free.
 */
export function placeLabels(boxes, sizes, stage, order) {
  const placed = boxes.map(() => null);
  // The shortest form of every label first, so that the long form of one never takes another's only place.
  const shortest = (index) => sizes[index].length - 1;
  for (const index of order) placed[index] = best(index, shortest(index), placed);
  for (const index of order) {
    for (let size = 0; size < shortest(index); size += 1) {
      const wide = sizes[index][size].width > WIDEST * boxes[index].width;
      const longer = wide && boxes.length > 1 && index !== order[0] ? null : best(index, size, placed);
      if (!longer) continue;
      placed[index] = longer;
      break;
    }
  }
  return placed.map((each) => each && { left: each.left, top: each.top, size: each.form });

  function best(index, form, others) {
    const taken = others.filter((other, at) => other && at !== index);
    const size = sizes[index][form];
    let found = null;
    for (const place of places(boxes[index], size)) {
      const label = { ...place, ...size, form };
      if (!inside(label, stage) || taken.some((other) => overlap(grown(label), other) > 0)) continue;
      label.cost = cost(label, index, place.rank);
      if (!found || label.cost < found.cost) found = label;
    }
    return found;
  }

  function cost(label, index, rank) {
    const covered = boxes.map((box, at) => overlap(label, box) * (at === index ? ON_ITS_OWN : ON_ANOTHER));
    return covered.reduce((sum, each) => sum + each, rank);
  }
}

/** Places of a label at a box: above, below, inside at the top and bottom, left and right of it; `rank` breaks ties. */
function* places(box, { width, height }) {
  const right = box.left + box.width;
  const bottom = box.top + box.height;
  const rows = [box.top - height - GAP, bottom + GAP, box.top + GAP, bottom - height - GAP];
  for (let step = 0; step <= STEPS; step += 1) {
    const share = step / STEPS;
    const left = box.left + share * (box.width - width);
    for (const [row, top] of rows.entries()) yield { left, top, rank: step + 10 * row };
    const top = box.top + share * (box.height - height);
    yield { left: right + GAP, top, rank: 50 + step };
    yield { left: box.left - width - GAP, top, rank: 60 + step };
  }
}

const grown = ({ left, top, width, height }) => ({
  left: left - APART,
  top: top - APART,
  width: width + 2 * APART,
  height: height + 2 * APART,
});

const inside = ({ left, top, width, height }, stage) =>
  left >= 0 && top >= 0 && left + width <= stage.width && top + height <= stage.height;

/** Area, px², that two boxes share. */
function overlap(one, other) {
  const width = Math.min(one.left + one.width, other.left + other.width) - Math.max(one.left, other.left);
  const height = Math.min(one.top + one.height, other.top + other.height) - Math.max(one.top, other.top);
  return width > 0 && height > 0 ? width * height : 0;
}
