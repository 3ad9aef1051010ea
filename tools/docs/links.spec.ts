import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { anchorOf } from './markdown.js';

const ROOT = resolve(__dirname, '../..');
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** A page without its blocks of code. */
function proseOf(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8').replace(/^ *```[^]*?^ *```/gm, '');
}

function anchorsOf(page: string): string[] {
  const headings = [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading));
  return headings.map((anchor, index) => {
    const before = headings.slice(0, index).filter((other) => other === anchor).length;
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

test.each(PAGES)('%s: every relative link and anchor leads somewhere', (page) => {
  const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g)]
    .map(([, link, source]) => link ?? source ?? '')
    .filter((link) => !/^[a-z]+:/.test(link));
  const broken = links.filter((link) => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test.each(PAGES)('%s: every file that it names exists', (page) => {
  const named = [
    ...proseOf(page).matchAll(/`((?:apps|bin|deploy|dev|docs|libs|test|tools)(?:\/[\w.-]+)+)\/?`/g),
  ];
  const missing = named.map(([, file = '']) => file).filter((file) => !existsSync(join(ROOT, file)));
  expect(missing).toEqual([]);
});

test('the README leads to every page of docs', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  expect(PAGES.filter((page) => page.startsWith('docs/') && !readme.includes(`(${page})`))).toEqual([]);
});
