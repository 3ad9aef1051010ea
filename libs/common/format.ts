const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Formats a count with commas between the thousands. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** Formats a number of rows: "1 row", "785 rows", "1.55 M rows". */
export function formatRows(rows: number): string {
  if (rows === 1) return '1 row';
  if (rows < 999_500) return `${formatCount(rows)} rows`;
  const [factor, unit] = rows < 999_500_000 ? [1_000_000, 'M'] : [1_000_000_000, 'G'];
  return `${(rows / factor).toPrecision(3)} ${unit} rows`;
}

/** Formats bytes with at least two digits, in powers of 1000, as disks are sold and S3 is billed. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  // 999.5 kB would be rounded to 1000 kB: it is 1.0 MB.
  while (bytes >= (unit === 0 ? 1_000 : 999.5) && unit < UNITS.length - 1) {
    bytes /= 1_000;
    unit++;
  }
  return `${unit > 0 && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

/** Formats milliseconds in the two largest units that apply. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
