// Files to pictures that can be drawn, and to smaller copies of them.

/** Longest side, px, of a smaller copy: a face in a group of ten is still 100 px wide. */
const SMALLER_SIDE = 1600;
const SMALLER_QUALITY = 0.85;
// So much of what is allowed is used: rounding must not bring it above.
const SPARE = 0.95;

/** The picture of a file, upright; null when this browser cannot show it. */
export async function bitmapOf(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

/** A copy of a file that keeps to `limits` (of /about); null when this browser cannot read it. */
export async function smallerCopy(file, limits = {}) {
  const bitmap = await bitmapOf(file);
  if (!bitmap) return null;
  const { width, height } = bitmap;
  let scale = Math.min(
    1,
    SMALLER_SIDE / Math.max(width, height),
    Math.sqrt((SPARE * (limits.pixels ?? Infinity)) / (width * height)),
  );
  for (;;) {
    const copy = await jpeg(
      drawn(bitmap, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))),
      SMALLER_QUALITY,
    );
    if (copy.size <= (limits.bytes ?? Infinity) || width * scale < 2) return copy;
    scale *= Math.min(SPARE, Math.sqrt((SPARE * limits.bytes) / copy.size));
  }
}

/** A canvas with a picture (or a video's present frame) on it. */
export function drawn(source, width, height, canvas = document.createElement("canvas")) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  // Transparent pictures lie on white, as the service lays them.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

/** A canvas as a JPEG file. */
export const jpeg = (canvas, quality) =>
  new Promise((resolve) => {
    canvas.toBlob(resolve, "image/jpeg", quality);
  });

/** What lies in `area` ({left, top, width, height} in px of the picture), drawn on a square canvas. */
export function cutOut(source, area, side) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: side, height: side });
  const longest = Math.max(area.width, area.height);
  const scale = side / longest;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const left = area.left - (longest - area.width) / 2;
  const top = area.top - (longest - area.height) / 2;
  context.drawImage(source, -left * scale, -top * scale, source.width * scale, source.height * scale);
  return canvas;
}

/** The first picture of a drop or of the clipboard; null without one. */
export function pictureIn(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0] ?? null;
}
