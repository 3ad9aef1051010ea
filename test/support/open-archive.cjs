/** Opens an archive in a separate process, reads it to its end, and prints the outcome and the peak memory. */
const { createReadStream, readFileSync, statSync } = require('node:fs');
const { Readable } = require('node:stream');
const { openArchive } = require('../../dist/libs/archive/index.js');

const [, , file] = process.argv;
const source = {
  length: statSync(file).size,
  read: (start, end) => (start < end ? createReadStream(file, { start, end: end - 1 }) : Readable.from([])),
};

async function outcome() {
  try {
    const archive = await openArchive(source);
    const sequence = archive.read(archive.manifest.tables.flatMap(({ entries }) => entries));
    for (let entry = sequence.next(); entry !== undefined; entry = sequence.next())
      for await (const bytes of entry) void bytes;
    return { code: 'ACCEPTED', message: '' };
  } catch ({ code, message, name }) {
    return { code: code ?? name, message };
  }
}

outcome().then((result) => {
  // Not resourceUsage(): a process inherits that figure from its parent.
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
  process.stdout.write(JSON.stringify({ ...result, peak: Number(kilobytes) * 1024 }));
});
