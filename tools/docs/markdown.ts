/** The anchor that GitHub gives a heading. */
export function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_ -]/gu, '')
    .replaceAll(' ', '-');
}

/** A table without the columns that are empty in every row. */
export function tableOf(head: string[], rows: string[][]): string[] {
  const filled = head.map((_name, column) => rows.some((row) => row[column] !== ''));
  const line = (cells: string[]) =>
    `| ${cells
      .filter((_cell, column) => filled[column])
      .map((cell) => cell.replaceAll('|', '\\|'))
      .join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}
