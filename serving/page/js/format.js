// Numbers and times as words.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const DATE_WITH_SECONDS = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

/** A share in [0, 1]; a dash for none. */
export function percent(share, digits = 0) {
  if (share === null || share === undefined) return "–";
  const text = (share * 100).toFixed(digits);
  // Nearly sure is not sure.
  return share < 1 && Number(text) === 100
    ? `>${(100 - 10 ** -digits).toFixed(digits)}\u202f%`
    : `${text}\u202f%`;
}

/** As `percent`, as it is spoken. */
export const spokenPercent = (share) => `${Math.round(share * 100)} percent`;

/** Milliseconds. */
export function ms(value) {
  return value < 10
    ? `${value.toFixed(1)}\u202fms`
    : value < 10_000
      ? `${NUMBER.format(value)}\u202fms`
      : `${(value / 1000).toFixed(1)}\u202fs`;
}

/** Bytes. */
export function bytes(count) {
  if (count < 1000) return `${count} bytes`;
  return count < 1e6
    ? `${(count / 1e3).toFixed(0)}\u202fkB`
    : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)}\u202fMB`;
}

/** A number of any size with few digits. */
export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const text = Number.isInteger(value) ? NUMBER.format(value) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

/** A score in [0, 1] as statisticians write it. */
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

/** "1 face", "2 faces". */
export const counted = (count, one, many = `${one}s`) =>
  `${NUMBER.format(count)} ${count === 1 ? one : many}`;

/** Days, as one says them. */
export const days = (count) =>
  count < 1 ? counted(Math.round(count * 24), "hour") : counted(Math.round(count), "day");

/** An ISO time in the visitor's own zone. */
export const dateTime = (iso) => DATE.format(new Date(iso));

/** From one ISO time to another: the day is said once if it is the same; seconds only within one minute. */
export function period(since, until) {
  const [first, last] = [new Date(since), new Date(until)];
  const sameMinute = DATE.format(first) === DATE.format(last);
  return (sameMinute ? DATE_WITH_SECONDS : DATE).formatRange(first, last);
}

/** How long, roughly. */
export function duration(seconds) {
  if (seconds < 90) return counted(Math.round(seconds), "second");
  if (seconds < 5400) return counted(Math.round(seconds / 60), "minute");
  return seconds < 129_600
    ? counted(Math.round(seconds / 3600), "hour")
    : counted(Math.round(seconds / 86_400), "day");
}

/** A class or column name as a heading: `face_size` → Face size. */
export function titled(name) {
  const words = String(name).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const WEIGHTS = { scratch: "random weights", drawn: "weights that were pretrained on drawn faces" };

/** Where a training began, of the contract's `weights`. */
export const weightsInWords = (weights) => WEIGHTS[weights] ?? weights;
