const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** A count with commas between the thousands. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** Bytes with two digits at least, by thousands, as disks are sold and S3 is billed. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  // What would be shown as 1000 is one of the next unit.
  while (bytes >= (unit === 0 ? 1_000 : 999.5) && unit < UNITS.length - 1) {
    bytes /= 1_000;
    unit++;
  }
  return `${unit > 0 && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

/** Milliseconds in the two units that matter. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Milliseconds since 1970 as the clock on the wall shows them. */
export function formatTime(time: number): string {
  const date = new Date(time);
  const two = (number: number) => String(number).padStart(2, '0');
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  );
}

/** Text that came from elsewhere, on one line: names of tables and archives may hold what moves a terminal's cursor. */
export function printable(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ').replace(/\p{Cc}|\p{Cf}/gu, '\ufffd');
}

/** Columns below their titles; numbers stand on the right. */
export function formatTable(titles: string[], rows: (string | number)[][]): string {
  const cells = rows.map((row) =>
    row.map((cell) => printable(typeof cell === 'number' ? formatCount(cell) : cell)),
  );
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const onTheRight = titles.map((_, column) => rows.some((row) => typeof row[column] === 'number'));
  const line = (row: string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return onTheRight[column] ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [titles, ...cells].map(line).join('\n');
}

/** Names and values, one a line; a null is left out. */
export function formatFields(fields: [name: string, value: string | null][]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields
    .flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(width)}  ${printable(value)}`]))
    .join('\n');
}
