// Files to pictures that can be drawn, and to smaller copies of them.

/** Longest side, px, of a smaller copy: a face in a group of ten is still 100 px wide. */
const SMALLER_SIDE = 1600;
const SMALLER_QUALITY = 0.9;

/** The picture of a file, upright; null when this browser cannot show it. */
export async function bitmapOf(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

/** A smaller copy of a file; null when this browser cannot read it. */
export async function smallerCopy(file) {
  const bitmap = await bitmapOf(file);
  if (!bitmap) return null;
  const scale = Math.min(1, SMALLER_SIDE / Math.max(bitmap.width, bitmap.height));
  return jpeg(drawn(bitmap, Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)), SMALLER_QUALITY);
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
export const jpeg = (canvas, quality) => new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", quality); });

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
