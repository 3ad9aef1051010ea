import { styleText } from 'node:util';
import { formatCount } from '#common';
import type { DatabaseTarget } from '#contracts';

/** A text that calls for attention: yellow on a terminal with colours. */
export interface Amber {
  amber: string;
}

/** Formats milliseconds since 1970 in local time, with its offset from UTC. */
export function formatTime(time: number): string {
  const date = new Date(time);
  const two = (number: number) => String(number).padStart(2, '0');
  const minutes = -date.getTimezoneOffset();
  const offset = `${minutes < 0 ? '-' : '+'}${two(Math.trunc(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${offset}`
  );
}

/** A database as people read it. */
export function formatTarget({ user, host, port, database }: DatabaseTarget): string {
  return `${database} at ${host}:${port} as ${user}`;
}

/** Puts text on one line and replaces control characters: names of tables and archives may hold terminal commands. */
export function printable(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ').replace(/\p{Cc}|\p{Cf}/gu, '\ufffd');
}

/** Formats rows as aligned columns below their titles. Numbers are right-aligned. */
export function formatTable(titles: string[], rows: (string | number | Amber)[][]): string {
  const cells = rows.map((row) =>
    row.map((cell) =>
      printable(typeof cell === 'number' ? formatCount(cell) : typeof cell === 'string' ? cell : cell.amber),
    ),
  );
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const onTheRight = titles.map((_, column) => rows.some((row) => typeof row[column] === 'number'));
  const line = (row: string[], number: number) =>
    row
      .map((cell, column) => {
        const blanks = ' '.repeat((widths[column] ?? 0) - cell.length);
        const shown = typeof rows[number]?.[column] === 'object' ? styleText('yellow', cell) : cell;
        return onTheRight[column] ? blanks + shown : shown + blanks;
      })
      .join('  ')
      .trimEnd();
  return [line(titles, -1), ...cells.map(line)].join('\n');
}

/** Formats names and values, one a line, without those that are null. */
export function formatFields(fields: [name: string, value: string | Amber | null][]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields
    .flatMap(([name, value]) => {
      if (value === null) return [];
      const text = typeof value === 'string' ? printable(value) : styleText('yellow', printable(value.amber));
      return [`${name.padEnd(width)}  ${text}`];
    })
    .join('\n');
}
